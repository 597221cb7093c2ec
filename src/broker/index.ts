/** The broker: grants, their policy and state, and the endpoints of tenants and operator. */
import { chmod } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import path from 'node:path'
import type { FastifyInstance } from 'fastify'
import { makeDirectories } from '../config/directories.ts'
import { adminSocket, API_SOCKET, tenantEndpoint } from '../config/paths.ts'
import type { Logger } from '../telemetry/log.ts'
import { GrantBroker } from './broker.ts'
import { NOBODY } from './context.ts'
import { createAdminApi } from './http/admin-api.ts'
import { isOperator, mayUse } from './http/peer.ts'
import { HTTP_BOUNDS } from './http/bounds.ts'
import { listen } from './http/endpoint.ts'
import { Outsiders } from './http/outsiders.ts'
import { listenHttps, type HttpsServer } from './http/https-endpoint.ts'
import { createPluginApi } from './http/plugin-api.ts'
import { createTenantApi, type TenantApi } from './http/tenant-api.ts'
import { Metrics } from './metrics.ts'
import { PluginVolumes } from './plugin/volumes.ts'
import type {
  Broker,
  BrokerConfiguration,
  HttpsEndpoint,
  PluginEndpoint,
  Reconciliation,
  TenantAdministration,
  TenantCompute,
  TenantMount,
} from './ports.ts'
import type { Actor } from './store/audit.ts'
import { Certificates } from './tls/certificates.ts'
import type { Tenant } from './types.ts'

export interface BrokerOptions {
  /** Holds `broker.db`; exists. */
  readonly stateDirectory: string
  /** Sockets stand in it; exists, and others may pass through it (0711 or 0755). */
  readonly runtimeDirectory: string
  readonly log: Logger
}

export const DATABASE = 'broker.db'

/** One entry in the audit a minute for each outsider. */
const OUTSIDER_EVERY_MS = 60_000

/** StoreError when the state cannot be used. */
export async function openBroker(options: BrokerOptions): Promise<Broker> {
  const file = path.join(options.stateDirectory, DATABASE)
  const directories = { state: options.stateDirectory, runtime: options.runtimeDirectory }
  const broker = new GrantBroker({ file, directories, log: options.log })
  try {
    await broker.open()
    const served = new ServedBroker(broker, options)
    await served.open()
    return served
  } catch (error) {
    broker.close()
    throw error
  }
}

/** Others may look into it, whatever the umask says, and only its owner changes it. */
async function openDirectory(directory: string): Promise<void> {
  await makeDirectories(directory)
  await chmod(directory, 0o755)
}

interface Endpoint {
  readonly tenant: Tenant
  readonly compute: TenantCompute | undefined
  close(): Promise<void>
}

class ServedBroker implements Broker {
  readonly #broker: GrantBroker
  readonly #runtimeDirectory: string
  readonly #metrics: Metrics
  readonly #certificates: Certificates
  readonly #endpoints = new Map<string, Endpoint>()
  /** Whose endpoint a request came to. */
  readonly #owners = new WeakMap<IncomingMessage, string>()
  readonly #outsiders: Outsiders
  /** When the audit heard of whom. */
  readonly #audited = new Map<string, number>()
  #api: TenantApi | undefined
  #https: HttpsServer | undefined
  /** Of the endpoints that are the machine's. */
  readonly #closers: (() => Promise<void>)[] = []

  constructor(broker: GrantBroker, { stateDirectory, runtimeDirectory }: BrokerOptions) {
    this.#broker = broker
    this.#runtimeDirectory = runtimeDirectory
    this.#certificates = new Certificates(broker, stateDirectory)
    this.#metrics = new Metrics(() => ({
      ...broker.counts(),
      listeners: this.#api?.streams.size ?? 0,
    }))
    this.#outsiders = new Outsiders((count) => this.#metrics.outsiders(count))
  }

  async open(): Promise<void> {
    this.#api = await createTenantApi({
      broker: this.#broker,
      tenantOf: (request) => this.#owners.get(request) ?? '',
      computeOf: (tenant) => this.#endpoints.get(tenant)?.compute,
      onRequest: (route, status, ms) => this.#metrics.request(route, status, ms),
    })
  }

  configure(configuration: BrokerConfiguration): Promise<Reconciliation> {
    return this.#broker.configure(configuration)
  }

  async addTenant(
    tenant: Tenant,
    mount: TenantMount,
    compute: TenantCompute | undefined,
  ): Promise<Reconciliation> {
    const { name } = tenant
    await this.#endpoints.get(name)?.close()
    const report = await this.#broker.addTenant(tenant, mount)
    const directory = tenantEndpoint(this.#runtimeDirectory, name)
    await openDirectory(path.dirname(directory))
    await openDirectory(directory)
    const close = await listen({
      socket: path.join(directory, API_SOCKET),
      mode: 0o666, // who may is decided by the kernel's word at each connection
      admit: (uid) => (mayUse(uid, tenant) ? undefined : "this endpoint is another tenant's"),
      onRefused: (peer, reason) => this.#refused(peer, name, peer.command, reason),
      outsiders: this.#outsiders,
      handle: (request, response) => this.#route(name, request, response),
    })
    this.#endpoints.set(name, { tenant, compute, close })
    return report
  }

  #route(tenant: string, request: IncomingMessage, response: ServerResponse): void {
    this.#owners.set(request, tenant)
    this.#api?.app.routing(request, response)
  }

  describeTenant(tenant: Tenant): void {
    this.#broker.describeTenant(tenant)
  }

  absent(name: string): readonly string[] {
    const all = this.#broker.grants(name).filter(({ state }) => state !== 'active')
    return all.filter(({ inside }) => inside === undefined).map(({ at }) => at)
  }

  async removeTenant(name: string, options: { readonly forget: boolean }): Promise<void> {
    const endpoint = this.#endpoints.get(name)
    this.#endpoints.delete(name)
    this.#api?.streams.close(name)
    this.#api?.rate.forget(name)
    await endpoint?.close()
    this.#https?.drop(name, undefined)
    await this.#broker.removeTenant(name, options)
    if (options.forget) this.#certificates.forget(name)
  }

  forgetOthers(names: ReadonlySet<string>): Promise<void> {
    return this.#broker.forgetOthers(names)
  }

  async serveAdmin(administration: TenantAdministration): Promise<void> {
    const broker = this.#broker
    const metrics = this.#metrics
    const certificates = this.#certificates
    const app = await createAdminApi({ broker, administration, metrics, certificates })
    await this.#listenForOperator(adminSocket(this.#runtimeDirectory), app)
  }

  async servePlugin({ socket, tenant }: PluginEndpoint): Promise<void> {
    const volumes = new PluginVolumes(this.#broker, tenant)
    this.#closers.push(() => Promise.resolve(volumes.close()))
    await volumes.tidy()
    const app = await createPluginApi(volumes, this.#broker.log)
    await makeDirectories(path.dirname(socket), 0o755)
    await this.#listenForOperator(socket, app)
  }

  async serveHttps(endpoint: HttpsEndpoint): Promise<number> {
    const https = await listenHttps({
      endpoint,
      certificates: this.#certificates,
      tenantOf: (name) => this.#endpoints.get(name)?.tenant,
      onRefused: ({ tenant, fingerprint, reason }) =>
        this.#refused(NOBODY, tenant, fingerprint, reason),
      handle: (tenant, request, response) => this.#route(tenant, request, response),
    })
    this.#certificates.onRevoked = (tenant, fingerprint) => https.drop(tenant, fingerprint)
    this.#https = https
    this.#closers.push(() => https.close())
    return https.port
  }

  async #listenForOperator(socket: string, app: FastifyInstance): Promise<void> {
    const close = await listen({
      socket,
      mode: 0o600,
      admit: (uid) => (isOperator(uid) ? undefined : "this is the operator's"),
      onRefused: (peer, reason) => this.#refused(peer, undefined, peer.command, reason),
      outsiders: this.#outsiders,
      handle: (request, response) => app.routing(request, response),
    })
    this.#closers.push(close)
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.splice(0).map((close) => close()))
    await Promise.all([...this.#endpoints.values()].map((endpoint) => endpoint.close()))
    this.#endpoints.clear()
    await this.#broker.release()
    this.#broker.close()
  }

  #refused(
    actor: Actor,
    tenant: string | undefined,
    subject: string | undefined,
    reason: string,
  ): void {
    this.#metrics.outsiders(1)
    // It may try as often as it likes; the audit is for people.
    const key = `${actor.uid ?? subject} ${tenant}`
    const now = Date.now()
    if (now - (this.#audited.get(key) ?? -Infinity) < OUTSIDER_EVERY_MS) return
    if (this.#audited.size >= HTTP_BOUNDS.outsidersKnown) this.#audited.clear()
    this.#audited.set(key, now)
    this.#broker.record({
      ...actor,
      action: 'connect',
      outcome: 'refused',
      tenant,
      subject,
      reason,
    })
  }
}
