/**
 * What the file servers know of what is granted: how much of a quota is used, how many operations there
 * are and how long they take. Asked for now and then; a choice uses the last answer.
 */
import type { Context, ServedTenant } from './context.ts'
import type { Entry } from './grant-table.ts'
import { LATENCY_BUCKETS, RecentLatencies } from './latencies.ts'
import type { TenantMount } from './ports.ts'

export class Sampler {
  readonly #context: Context
  readonly #recent = new Map<string, RecentLatencies>()
  /** What was counted at the last look, by mount and graft. */
  readonly #before = new WeakMap<TenantMount, Map<number, Float64Array>>()
  /** Of each volume: what its grants use. */
  #used = new Map<string, (readonly [Entry, number])[]>()
  #lastMs = Date.now()

  constructor(context: Context) {
    this.#context = context
  }

  /** Of all tenants at once: each is asked for numbers that its file server has in memory. */
  sample(nowMs = Date.now()): void {
    const { tenants, volumes, table } = this.#context
    if (nowMs <= this.#lastMs) return
    this.#used = new Map()
    const done = new Map<string, Float64Array>()
    for (const served of tenants.values()) {
      try {
        this.#sampleTenant(served, new Map(table.of(served.tenant.name).flatMap(byGraft)), done)
      } catch (error) {
        // A mount that is going; the others count.
        this.#context.log.debug({ err: error, tenant: served.tenant.name }, 'not sampled')
      }
    }
    for (const { name } of volumes.all()) {
      const recent = this.#recent.get(name) ?? new RecentLatencies()
      this.#recent.set(name, recent)
      recent.add(done.get(name) ?? new Float64Array(LATENCY_BUCKETS), this.#lastMs, nowMs)
      volumes.measure(name, recent.measure())
    }
    for (const name of this.#recent.keys())
      if (volumes.get(name) === undefined) this.#recent.delete(name)
    this.#lastMs = nowMs
  }

  settle(volume: string): () => void {
    const { table } = this.#context
    const used = this.#used.get(volume) ?? []
    const ended = table.endedOn(volume)
    return () => {
      for (const [entry, bytes] of used) table.setUsed(entry, bytes)
      table.settleEnded(volume, ended)
    }
  }

  #sampleTenant(
    { mount }: ServedTenant,
    entries: ReadonlyMap<number, Entry>,
    done: Map<string, Float64Array>,
  ): void {
    for (const { graft, usedBytes } of mount.usage()) {
      const entry = entries.get(graft)
      if (entry === undefined) continue
      const { volume } = entry.grant
      const used = this.#used.get(volume) ?? []
      used.push([entry, usedBytes])
      this.#used.set(volume, used)
    }
    const before = this.#before.get(mount) ?? new Map<number, Float64Array>()
    const now = new Map<number, Float64Array>()
    for (const { graft, counts } of mount.latencies()) {
      now.set(graft, counts)
      const volume = entries.get(graft)?.grant.volume
      if (volume === undefined) continue
      const sum = done.get(volume) ?? new Float64Array(LATENCY_BUCKETS)
      done.set(volume, sum)
      const old = before.get(graft)
      for (let i = 0; i < LATENCY_BUCKETS; i += 1)
        sum[i] = (sum[i] ?? 0) + (counts[i] ?? 0) - (old?.[i] ?? 0)
    }
    this.#before.set(mount, now)
  }
}

function byGraft(entry: Entry): [number, Entry][] {
  return entry.graft === undefined ? [] : [[entry.graft, entry]]
}
