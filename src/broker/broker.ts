/** The broker's operations, over its parts; the HTTP APIs are thin over these. */
import path from 'node:path'
import type { Logger } from '../telemetry/log.ts'
import { Turns } from '../turns.ts'
import { CatalogChanges } from './catalog-changes.ts'
import { NOBODY, record, served, type Context, type ServedTenant } from './context.ts'
import { Deadlines } from './deadlines.ts'
import { Events } from './events.ts'
import { GrantTable } from './grant-table.ts'
import { HolderLooks, type Holder } from './holders.ts'
import { hasImage, provideAlone, settleVolumes, unmountImages } from './making.ts'
import { explain, mountGrant, type Mounted, type Requested } from './mounting.ts'
import { Policies } from './policies.ts'
import { visible } from './policy.ts'
import type { BrokerConfiguration, InsideChange, Reconciliation, TenantMount } from './ports.ts'
import { reevaluate, restore, tidy } from './reconciling.ts'
import { toReport, type GrantReport, type VolumeReport } from './reports.ts'
import { holdersOf, inSlices, takeAll, takeAway, unmountGrant } from './revoking.ts'
import type { UnmountOptions } from './revoking.ts'
import { Sampler } from './sampling.ts'
import type { Selection } from './select.ts'
import { takeSnapshot, type SnapshotRequest, type Taken } from './snapshots.ts'
import { Images, type StorageDirectories } from './storage/images.ts'
import type { Actor, AuditEntry } from './store/audit.ts'
import { Store } from './store/index.ts'
import type { ContainerPlace, Grant, MountRequest, Policy, Tenant } from './types.ts'
import { Volumes } from './volumes.ts'

/** Each is a process for some ten milliseconds. */
const PARALLEL_MOUNTS = 4
/** Between two looks for what could not be done before. */
const TIDY_EVERY_MS = 10_000
/** After an expiry that could not be carried out, as for one that is not revocable and open. */
const RETRY_EXPIRY_MS = 5_000

export interface GrantBrokerOptions {
  readonly file: string
  readonly directories: StorageDirectories
  readonly log: Logger
}

export class GrantBroker {
  readonly catalog: CatalogChanges
  readonly #context: Context
  readonly #deadlines: Deadlines
  readonly #sampler: Sampler
  readonly #tidying: NodeJS.Timeout

  /** StoreError. */
  constructor({ file, directories, log }: GrantBrokerOptions) {
    const store = new Store(file)
    this.#deadlines = new Deadlines((id) => void this.#expire(id))
    this.#context = {
      store,
      log,
      table: new GrantTable(store.grants),
      volumes: new Volumes(store.catalog, (volume) => provideAlone(this.#context, volume), {
        sample: () => this.#sampler.sample(),
        settle: (volume) => this.#sampler.settle(volume),
      }),
      volumeTurns: new Turns(),
      images: new Images(directories),
      snapshotFolder: path.join(directories.state, 'snapshots'),
      policies: new Policies(store.catalog),
      events: new Events(),
      holderLooks: new HolderLooks(),
      tenants: new Map(),
      onTerms: (id, expiresAtMs) => this.#deadlines.set(id, expiresAtMs),
      onInside: (id, change) => void this.#insideChanged(id, change),
    }
    this.catalog = new CatalogChanges(this.#context)
    this.#sampler = new Sampler(this.#context)
    this.#tidying = setInterval(() => {
      tidy(this.#context).catch((error: unknown) => log.error({ err: error }, 'tidying up'))
    }, TIDY_EVERY_MS)
    this.#tidying.unref()
  }

  get events(): Events {
    return this.#context.events
  }

  get store(): Store {
    return this.#context.store
  }

  get log(): Logger {
    return this.#context.log
  }

  /** Once, before `configure`: what a killed daemon left half done is settled. */
  async open(): Promise<void> {
    const { images, log } = this.#context
    for (const name of await images.open()) log.info({ volume: name }, 'an image is mounted still')
    for (const action of await settleVolumes(this.#context)) log.info(action)
  }

  async configure({ volumes, policies }: BrokerConfiguration): Promise<Reconciliation> {
    this.#context.policies.configure(policies)
    this.#context.volumes.configure(volumes)
    // Else what is granted of them would not be there yet.
    const imaged = this.#context.volumes.all().filter(hasImage)
    await inSlices(
      imaged,
      PARALLEL_MOUNTS,
      async (each) => void (await provideAlone(this.#context, each)),
    )
    await this.#context.volumes.look()
    const report = await reevaluate(this.#context)
    await unmountImages(this.#context, new Set(this.#context.volumes.all().map(({ name }) => name)))
    return report
  }

  async addTenant(tenant: Tenant, mount: TenantMount): Promise<Reconciliation> {
    const entry: ServedTenant = { tenant, mount }
    this.#context.tenants.set(tenant.name, entry)
    const report = await restore(this.#context, entry)
    for (const action of report.actions) this.log.info({ tenant: tenant.name }, action)
    return report
  }

  describeTenant(tenant: Tenant): void {
    const entry = this.#context.tenants.get(tenant.name)
    if (entry !== undefined) this.#context.tenants.set(tenant.name, { ...entry, tenant })
  }

  async removeTenant(name: string, { forget }: { readonly forget: boolean }): Promise<void> {
    const { table, tenants, store } = this.#context
    if (forget) {
      const roots = table.of(name).filter(({ parent }) => parent === undefined)
      const reason = 'the tenant is removed'
      await takeAll(this.#context, roots, { event: 'revoked', actor: NOBODY, reason })
    }
    tenants.delete(name)
    // What could not be revoked goes with the mount, whether that can be written down now or later.
    try {
      if (forget) for (const entry of table.of(name)) table.remove(entry)
      if (forget) store.keys.forget(name)
    } catch (error) {
      this.log.error({ err: error, tenant: name }, 'grants of a tenant that is gone stay for now')
      for (const entry of table.of(name)) entry.state = 'revoking'
    }
    for (const entry of table.of(name)) {
      entry.graft = undefined
      this.#deadlines.set(entry.grant.id, undefined)
    }
  }

  /** Of tenants that are not among these: their removal was cut short. */
  async forgetOthers(names: ReadonlySet<string>): Promise<void> {
    const all = [...this.#context.table.all()].map(({ grant }) => grant.tenant)
    for (const name of new Set(all.filter((each) => !names.has(each)))) {
      this.log.info({ tenant: name }, 'dropped the grants of a tenant that is no more')
      await this.removeTenant(name, { forget: true })
    }
  }

  tenant(name: string): ServedTenant {
    return served(this.#context, name)
  }

  /** The tenant whose id of the host that is; undefined: nobody's. */
  whose(uid: number): string | undefined {
    for (const { tenant } of this.#context.tenants.values())
      if (uid >= tenant.ids.first && uid < tenant.ids.first + tenant.ids.count) return tenant.name
    return undefined
  }

  // ---- for a tenant --------------------------------------------------------------------------

  mount(tenant: string, request: MountRequest, by: Requested): Promise<Mounted> {
    return mountGrant(this.#context, tenant, request, by)
  }

  explain(tenant: string, request: Omit<MountRequest, 'at'>): Selection {
    return explain(this.#context, served(this.#context, tenant).tenant, request)
  }

  /** Undefined: nothing is there. */
  unmount(
    tenant: string,
    target: { readonly at: string } | { readonly grant: string },
    options: UnmountOptions,
    actor: Actor,
  ): Promise<Grant | undefined> {
    const { table } = this.#context
    const entry = 'at' in target ? table.at(tenant, target.at) : table.get(target.grant)
    // Another tenant's grant is none.
    const own = entry?.grant.tenant === tenant ? entry : undefined
    return unmountGrant(this.#context, own, options, actor)
  }

  /** As `unmount`, of what stands inside a container. */
  unmountInside(
    tenant: string,
    place: ContainerPlace,
    options: UnmountOptions,
    actor: Actor,
  ): Promise<Grant | undefined> {
    return unmountGrant(this.#context, this.#context.table.inside(tenant, place), options, actor)
  }

  /** Those that it may know of. */
  volumesFor(tenant: Tenant): VolumeReport[] {
    const { policies } = this.#context
    return this.volumes().filter(({ volume }) => visible(tenant, volume, policies.all()))
  }

  /** The grant that stands at a path of the tenant's and came with that key. */
  standing(tenant: string, at: string, key: string): GrantReport | undefined {
    const entry = this.#context.table.at(tenant, at)
    return entry?.requestKey === key ? toReport(entry) : undefined
  }

  // ---- for an operator, beside `catalog` -------------------------------------------------------

  grants(tenant?: string): GrantReport[] {
    const { table } = this.#context
    return (tenant === undefined ? [...table.all()] : table.of(tenant)).map(toReport)
  }

  grant(id: string): GrantReport | undefined {
    const entry = this.#context.table.get(id)
    return entry && toReport(entry)
  }

  async holders(id: string): Promise<Holder[]> {
    const entry = this.#context.table.get(id)
    return entry === undefined ? [] : await holdersOf(this.#context, entry)
  }

  async revoke(id: string, actor: Actor, reason: string | undefined): Promise<Grant | undefined> {
    const entry = this.#context.table.get(id)
    if (entry === undefined) return undefined
    return (await takeAway(this.#context, entry, { event: 'revoked', actor, reason }))
      ? entry.grant
      : undefined
  }

  volumes(): VolumeReport[] {
    const { volumes, table } = this.#context
    return volumes.all().map((volume) => ({
      ...volumes.candidate(volume, table.placedOn(volume.name)),
      configured: volumes.isConfigured(volume.name),
    }))
  }

  /** How full and how well volumes are now, instead of at the last look. */
  look(): Promise<void> {
    return this.#context.volumes.look()
  }

  /** Where the tree of an image of that name is. */
  imageBacking(name: string): string {
    return this.#context.images.backing(name)
  }

  snapshot(of: string, request: SnapshotRequest, actor: Actor): Promise<Taken> {
    return takeSnapshot(this.#context, of, request, actor)
  }

  policies(): { readonly policy: Policy; readonly configured: boolean }[] {
    const { policies } = this.#context
    return policies
      .all()
      .map((policy) => ({ policy, configured: policies.isConfigured(policy.name) }))
  }

  /** Mount and table agree, of all tenants. */
  tidy(): Promise<Reconciliation> {
    return tidy(this.#context)
  }

  counts(): { tenants: number; grants: number; deadlines: number } {
    const { tenants, table } = this.#context
    return { tenants: tenants.size, grants: table.size, deadlines: this.#deadlines.size }
  }

  record(entry: AuditEntry): void {
    record(this.#context, entry)
  }

  /** Unmounts images: whoever serves them has ended. */
  async release(): Promise<void> {
    this.#context.volumes.close()
    await unmountImages(this.#context, new Set())
  }

  close(): void {
    clearInterval(this.#tidying)
    this.#deadlines.close()
    this.#context.volumes.close()
    this.#context.store.close()
  }

  async #insideChanged(id: string, { kind, why }: InsideChange): Promise<void> {
    const entry = this.#context.table.get(id)
    if (entry === undefined) return
    if (kind === 'ended') {
      await takeAll(this.#context, [entry], { event: 'revoked', actor: NOBODY, reason: why })
      return
    }
    // Tidying puts it in again.
    entry.graft = undefined
    entry.unavailable = why
    const { tenant } = entry.grant
    const entered = {
      action: 'drift',
      outcome: 'failed',
      tenant,
      subject: id,
      reason: why,
    } as const
    record(this.#context, { ...NOBODY, ...entered })
    this.#context.events.tell('unavailable', entry.grant, Date.now(), why)
  }

  async #expire(id: string): Promise<void> {
    const entry = this.#context.table.get(id)
    if (entry === undefined) return
    const cause = { event: 'expired', actor: NOBODY, reason: 'its time was over' } as const
    const { failed } = await takeAll(this.#context, [entry], cause)
    if (failed > 0) this.#deadlines.set(id, Date.now() + RETRY_EXPIRY_MS)
  }
}
