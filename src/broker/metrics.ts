/** What an operator's Prometheus reads on the admin socket. No tenant's name is a label: there may be
 * any number of them. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

export interface MetricsSource {
  readonly tenants: number
  readonly grants: number
  readonly deadlines: number
  readonly listeners: number
}

const SECONDS = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1, 10]

export class Metrics {
  readonly #registry = new Registry()
  readonly #requests: Histogram<'route' | 'status'>
  readonly #outsiders: Counter

  constructor(source: () => MetricsSource) {
    const registers = [this.#registry]
    this.#requests = new Histogram({
      name: 'insitu_api_request_seconds',
      help: 'Requests of tenants by route and status.',
      labelNames: ['route', 'status'],
      buckets: SECONDS,
      registers,
    })
    this.#outsiders = new Counter({
      name: 'insitu_api_outsiders_total',
      help: 'Connections of callers that are not the tenant.',
      registers,
    })
    for (const [key, help] of [
      ['tenants', 'Tenants that are served.'],
      ['grants', 'Grants of all tenants.'],
      ['deadlines', 'Grants that end at some time.'],
      ['listeners', 'Open event streams.'],
    ] as const) {
      const gauge: Gauge = new Gauge({
        name: `insitu_${key}`,
        help,
        registers,
        collect: () => gauge.set(source()[key]),
      })
    }
    const memory: Gauge = new Gauge({
      name: 'insitu_resident_bytes',
      help: 'Memory of the daemon.',
      registers,
      collect: () => memory.set(process.memoryUsage.rss()),
    })
  }

  request(route: string, status: number, ms: number): void {
    this.#requests.observe({ route, status }, ms / 1_000)
  }

  outsiders(count: number): void {
    this.#outsiders.inc(count)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }
}
