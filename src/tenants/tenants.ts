/**
 * All tenants of a daemon. What was decided stands in the configuration or in the store before
 * anything is done, so that a start after a crash goes on from there: a tenant that is stored is made
 * whole, one that was being removed is removed.
 */
import { rm, rmdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { TenantAdministration, TenantReport } from '../broker/ports.ts'
import type { Tenant } from '../broker/types.ts'
import type { ComputeLimits } from '../config/limits.ts'
import { API_SOCKET } from '../config/paths.ts'
import { errnoOf, VfsError } from '../errors.ts'
import type { Statistics } from '../file-server/types.ts'
import type { RunLimits } from '../sandbox/types.ts'
import type { Logger } from '../telemetry/log.ts'
import { Turns } from '../turns.ts'
import { type MountRecords, recoverDeadMount } from './dead-mounts.ts'
import { checkIds, type TenantDefinition, whatChanged } from './definition.ts'
import { type Directories, tenantPlaces } from './places.ts'
import { Seat, type SeatBroker, type SeatOptions } from './seat.ts'
import type { TenantStore } from './store.ts'

/** Starting one is a mount, a few files and a database: more at once only wait for each other. */
const STARTS_AT_ONCE = 8

export interface TenantsOptions extends Pick<SeatOptions, 'sandbox' | 'threads'> {
  readonly directories: Directories
  readonly records: MountRecords
  readonly store: TenantStore
  readonly broker: SeatBroker
  /** Of tenants that the API makes. */
  readonly limits: RunLimits
  readonly bounds: ComputeLimits
  readonly log: Logger
}

export class Tenants implements TenantAdministration {
  readonly #options: TenantsOptions
  /** In the order in which they were first named. */
  readonly #seats = new Map<string, Seat>()
  readonly #declared = new Set<string>()
  /** Adding and removing, one after the other for each name. */
  readonly #turns = new Turns<string>()

  constructor(options: TenantsOptions) {
    this.#options = options
  }

  /** Starts all, and goes on with what a crash interrupted. One that fails is tried again later. */
  async start(declared: readonly TenantDefinition[]): Promise<void> {
    const { store, broker, log } = this.#options
    for (const { tenant, removing } of store.list()) {
      if (removing === undefined) continue
      log.info({ tenant: tenant.name }, 'goes on removing a tenant')
      await broker.removeTenant(tenant.name, { forget: true })
      await this.#clear(tenant.name, removing.purge)
      store.delete(tenant.name)
    }
    for (const definition of declared) this.#declare(definition)
    for (const { tenant } of store.list()) {
      if (this.#seats.has(tenant.name)) continue // the file has it now
      this.#seats.set(tenant.name, this.#seat(this.#define(tenant)))
    }
    const names = new Set(this.#seats.keys())
    await broker.forgetOthers(names)
    await this.#options.records.releaseOthers(names)
    await inParallel([...this.#seats.values()], STARTS_AT_ONCE, (seat) => seat.start())
  }

  /** Makes the declared tenants what they are in `declared`; others stay as they are. */
  async apply(declared: readonly TenantDefinition[]): Promise<void> {
    const names = new Set(declared.map(({ name }) => name))
    const gone = [...this.#declared].filter((name) => !names.has(name))
    await inParallel(gone, STARTS_AT_ONCE, (name) =>
      this.#turns.take(name, async () => {
        this.#declared.delete(name)
        await this.#end(name)
        await this.#clear(name, false)
      }),
    )
    await inParallel(declared, STARTS_AT_ONCE, (definition) =>
      this.#turns.take(definition.name, async () => {
        const before = this.#seats.get(definition.name)
        const change = before === undefined ? 'mount' : whatChanged(before.definition, definition)
        this.#declared.add(definition.name)
        if (before !== undefined && change !== 'mount') return before.describe(definition)
        await before?.stop({ forget: false })
        const seat = this.#seat(definition)
        this.#seats.set(definition.name, seat)
        await seat.start()
      }),
    )
  }

  list(): readonly TenantReport[] {
    return [...this.#seats.values()].map((seat) => seat.report())
  }

  statistics(): { readonly tenant: string; readonly statistics: Statistics }[] {
    return [...this.#seats].flatMap(([tenant, seat]) => {
      const statistics = seat.statistics()
      return statistics === undefined ? [] : [{ tenant, statistics }]
    })
  }

  add(tenant: Tenant): Promise<TenantReport> {
    return this.#turns.take(tenant.name, async () => {
      const { store } = this.#options
      if (this.#seats.has(tenant.name))
        throw new VfsError('EEXIST', `there is a tenant ${tenant.name} already`)
      const definition = this.#define(tenant)
      checkIds(
        tenant,
        [...this.#seats.values()].map((seat) => seat.definition),
      )
      const seat = this.#seat(definition)
      await refuseForeignHome(seat.places.home, tenant)
      // Nothing may come between the look and this.
      checkIds(
        tenant,
        [...this.#seats.values()].map((each) => each.definition),
      )
      store.put({ tenant, removing: undefined })
      this.#seats.set(tenant.name, seat)
      await seat.start()
      const report = seat.report()
      if (report.state === 'serving') return report
      await this.#remove(tenant.name, false)
      throw new VfsError('EIO', `${tenant.name} could not be served: ${report.error ?? 'ended'}`)
    })
  }

  remove(name: string, { purge }: { readonly purge: boolean }): Promise<void> {
    return this.#turns.take(name, async () => {
      if (this.#declared.has(name))
        throw new VfsError(
          'EBUSY',
          `${name} is in the configuration file: remove it there, then run "insitu config reload"`,
        )
      if (!this.#seats.has(name)) throw new VfsError('ENOENT', `there is no tenant ${name}`)
      await this.#remove(name, purge)
    })
  }

  /** Unmounts all; everything comes back at the next start. */
  async stop(): Promise<void> {
    await inParallel([...this.#seats.values()], STARTS_AT_ONCE, (seat) =>
      seat.stop({ forget: false }),
    )
    await this.#options.records.settled()
  }

  async #remove(name: string, purge: boolean): Promise<void> {
    const { store } = this.#options
    const seat = this.#seats.get(name)
    if (seat !== undefined) store.put({ tenant: wordsOf(seat.definition), removing: { purge } })
    await this.#end(name)
    await this.#clear(name, purge)
    store.delete(name)
  }

  async #end(name: string): Promise<void> {
    await this.#seats.get(name)?.stop({ forget: true })
    this.#seats.delete(name)
  }

  /** Takes away what is left of a tenant that is not served. */
  async #clear(name: string, purge: boolean): Promise<void> {
    const { directories } = this.#options
    const places = tenantPlaces(directories, name, { home: undefined, mountPoint: undefined })
    for (const dead of await recoverDeadMount(places.mountPoint)) await dead.close()
    // Not with what else is in it: the tenant's containers have that directory, and could lead us elsewhere.
    await rm(path.join(places.endpoint, API_SOCKET), { force: true })
    await rmdir(places.endpoint).catch(ignoreMissing)
    // Only if nothing is mounted there and nothing in it.
    await rmdir(places.runtime).catch(ignoreMissing)
    await rm(places.scratch, { recursive: true, force: true })
    if (purge) await rm(places.state, { recursive: true, force: true })
  }

  #declare(definition: TenantDefinition): void {
    this.#declared.add(definition.name)
    this.#seats.set(definition.name, this.#seat(definition))
  }

  #define(tenant: Tenant): TenantDefinition {
    const { limits, bounds } = this.#options
    return { ...tenant, home: undefined, mountPoint: undefined, share: 1, limits, bounds }
  }

  #seat(definition: TenantDefinition): Seat {
    return new Seat({ ...this.#options, definition })
  }
}

/** Data that an earlier tenant of the name left is found again, but given to nobody else. */
async function refuseForeignHome(home: string, { name, ids }: Tenant): Promise<void> {
  const info = await stat(home).catch(() => undefined)
  if (info === undefined) return
  if (info.uid >= ids.first && info.uid < ids.first + ids.count) return
  throw new VfsError(
    'EINVAL',
    `the data of an earlier tenant ${name} belongs to uid ${info.uid}: add it with those ids and purge it, or move ${home} away`,
  )
}

function wordsOf({ name, ids, labels, locality }: TenantDefinition): Tenant {
  return { name, ids, labels, locality }
}

function ignoreMissing(error: unknown): void {
  const code = errnoOf(error)
  if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EBUSY') throw error
}

async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  const lane = async (): Promise<void> => {
    for (const item of rest) await work(item)
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
}
