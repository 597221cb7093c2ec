/**
 * One tenant's place in the daemon: its server while it can be had. One that cannot start, or whose
 * mount somebody took away, is tried again: a backing may come back, and nobody else is concerned.
 */
import type { Broker, TenantReport } from '../broker/ports.ts'
import type { Sandbox } from '../sandbox/types.ts'
import type { Statistics } from '../file-server/types.ts'
import type { Logger } from '../telemetry/log.ts'
import { type MountRecords, recoverDeadMount } from './dead-mounts.ts'
import type { TenantDefinition } from './definition.ts'
import { type Directories, type TenantPlaces, tenantPlaces } from './places.ts'
import { Renewing } from './renewing.ts'
import { startTenant, type TenantServer } from './tenant-server.ts'

/** Twice as long each time. */
const RETRY_MS = 1_000
const MAX_RETRY_MS = 60_000

export type SeatBroker = Pick<
  Broker,
  'addTenant' | 'describeTenant' | 'removeTenant' | 'forgetOthers' | 'absent'
>

export interface SeatOptions {
  readonly definition: TenantDefinition
  readonly directories: Directories
  readonly records: MountRecords
  readonly broker: SeatBroker
  readonly sandbox: Sandbox
  readonly threads: number
  readonly log: Logger
}

export class Seat {
  readonly places: TenantPlaces
  #definition: TenantDefinition
  readonly #options: SeatOptions
  readonly #log: Logger
  readonly #renewing: Renewing
  #server: TenantServer | undefined
  #state: TenantReport['state'] = 'starting'
  #error: string | undefined
  #failures = 0
  #retry: NodeJS.Timeout | undefined
  #stopped = false
  /** Starting and stopping, one after the other. */
  #work: Promise<void> = Promise.resolve()

  constructor(options: SeatOptions) {
    this.#options = options
    this.#definition = options.definition
    this.places = tenantPlaces(options.directories, options.definition.name, options.definition)
    const { definition, broker } = options
    this.#log = options.log.child({ tenant: definition.name })
    this.#renewing = new Renewing({
      mountPoint: this.places.mountPoint,
      absent: () => broker.absent(definition.name),
      log: this.#log,
    })
  }

  get definition(): TenantDefinition {
    return this.#definition
  }

  /** For a definition that asks for no other mount. */
  describe(definition: TenantDefinition): void {
    this.#definition = definition
    if (this.#server !== undefined) this.#options.broker.describeTenant(definition)
  }

  /** Never rejects: the report tells. */
  start(): Promise<void> {
    return this.#then(() => this.#start())
  }

  stop({ forget }: { readonly forget: boolean }): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#retry)
    return this.#then(async () => {
      const { broker, records } = this.#options
      await broker.removeTenant(this.definition.name, { forget })
      await this.#renewing.close()
      const { name } = this.definition
      const mount = forget ? undefined : this.#server?.mount
      const unmounted = mount && records.hold(name, mount, this.#log)
      await this.#unmount()
      unmounted?.()
      await records.strike(name)
    })
  }

  report(): TenantReport {
    const { name, ids, labels, locality } = this.definition
    return {
      name,
      ids,
      labels,
      locality,
      state: this.#state,
      mountPoint: this.places.mountPoint,
      endpoint: this.places.endpoint,
      error: this.#error,
      noticeMs: this.#server?.noticeMs() ?? 0,
    }
  }

  statistics(): Statistics | undefined {
    return this.#server?.statistics()
  }

  async #start(): Promise<void> {
    if (this.#stopped || this.#server !== undefined) return
    const { definition, places } = this
    const { records, broker, sandbox, threads } = this.#options
    this.#state = 'starting'
    try {
      await records.note(definition.name, places.mountPoint)
      this.#renewing.add(records.takeDead(places.mountPoint))
      this.#renewing.add(await records.takeHeld(definition.name))
      const dead = await recoverDeadMount(places.mountPoint)
      if (dead.length > 0)
        this.#log.warn({ mountPoint: places.mountPoint }, 'took away a dead mount')
      this.#renewing.add(dead)
      const server = await startTenant({
        tenant: definition,
        places,
        sandbox,
        limits: definition.limits,
        bounds: definition.bounds,
        threads,
        log: this.#log,
        onEnded: (reason) => void this.#then(() => this.#lost(reason)),
      })
      this.#server = server
      await broker.addTenant(definition, server.mount, server.compute)
      await this.#renewing.run()
      this.#failures = 0
      this.#state = 'serving'
      this.#error = undefined
    } catch (error) {
      await this.#unmount()
      this.#fail(error instanceof Error ? error.message : String(error))
    }
  }

  async #lost(reason: string): Promise<void> {
    if (this.#stopped || this.#server === undefined) return
    this.#log.warn({ reason }, 'the mount of a tenant is gone')
    await this.#options.broker.removeTenant(this.definition.name, { forget: false })
    await this.#unmount()
    this.#fail(reason)
  }

  async #unmount(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.stop()
  }

  #fail(message: string): void {
    this.#state = 'failed'
    this.#error = message
    this.#failures += 1
    const delayMs = Math.min(RETRY_MS * 2 ** (this.#failures - 1), MAX_RETRY_MS)
    this.#log.error({ reason: message, retryMs: delayMs }, 'a tenant is not served')
    if (!this.#stopped) this.#retry = setTimeout(() => void this.start(), delayMs).unref()
  }

  #then(work: () => Promise<void>): Promise<void> {
    const next = this.#work.then(work)
    this.#work = next.catch((error: unknown) => {
      this.#log.error({ err: error }, 'a tenant could not be started or stopped')
    })
    return next
  }
}
