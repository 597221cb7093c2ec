/**
 * All grants in memory, with where they stand in their tenant's mount. The database has the same; every
 * change goes there first, so that a write that fails leaves both as they were.
 */
import { isWithin, overlap } from './paths.ts'
import type { GrantState, GrantsTable, StoredGrant } from './store/grants-table.ts'
import type { ContainerPlace, Grant } from './types.ts'

export interface Entry {
  grant: Grant
  state: GrantState
  /** In the database too. */
  written: boolean
  readonly requestKey: string | undefined
  /** Of the file server; undefined: not mounted now. */
  graft: number | undefined
  /** The tree that it was made of. */
  backing: string | undefined
  /** Why it is not mounted now although it is promised. */
  unavailable: string | undefined
  /** Why it is not seen where it was put, inside a container. */
  drift: string | undefined
  /** Of its quota, as far as is known: what is used is in no free space any more. */
  usedBytes: number
  /** The grant that its point lies in. */
  parent: Entry | undefined
  readonly children: Set<Entry>
  /** Being mounted or taken away: settles, and never rejects. */
  work: Promise<void> | undefined
}

export interface Placed {
  readonly grants: number
  readonly reservedBytes: number
}

const NOTHING: Placed = { grants: 0, reservedBytes: 0 }
const NONE: ReadonlyMap<string, number> = new Map()

interface TenantEntries {
  readonly byPath: Map<string, Entry>
  /** Those with `work`. */
  readonly busy: Set<Entry>
  /** Grants by each rule. */
  readonly used: Map<string, number>
}

export class GrantTable {
  readonly #stored: GrantsTable
  readonly #byId = new Map<string, Entry>()
  readonly #tenants = new Map<string, TenantEntries>()
  readonly #placed = new Map<string, Placed>()
  /** What grants of a volume had reserved that ended: perhaps written, and not seen yet. */
  readonly #ended = new Map<string, number>()

  constructor(stored: GrantsTable) {
    this.#stored = stored
    const all = stored.all()
    // Parents before what is in them.
    for (const each of all.toSorted((one, other) => one.grant.at.length - other.grant.at.length))
      this.#put(each, true)
  }

  get size(): number {
    return this.#byId.size
  }

  get(id: string): Entry | undefined {
    return this.#byId.get(id)
  }

  at(tenant: string, at: string): Entry | undefined {
    return this.#tenants.get(tenant)?.byPath.get(at)
  }

  /** Whatever the container is called there. */
  inside(tenant: string, { consumer, target }: ContainerPlace): Entry | undefined {
    return this.of(tenant).find(
      ({ grant: { inside } }) =>
        inside?.target === target && inside.consumer.mountNamespace === consumer.mountNamespace,
    )
  }

  of(tenant: string): Entry[] {
    return [...(this.#tenants.get(tenant)?.byPath.values() ?? [])]
  }

  all(): IterableIterator<Entry> {
    return this.#byId.values()
  }

  /** How many grants of the tenant stand on each rule. */
  usedBy(tenant: string): ReadonlyMap<string, number> {
    return this.#tenants.get(tenant)?.used ?? NONE
  }

  placedOn(volume: string): Placed {
    const { grants, reservedBytes } = this.#placed.get(volume) ?? NOTHING
    return { grants, reservedBytes: reservedBytes + this.endedOn(volume) }
  }

  endedOn(volume: string): number {
    return this.#ended.get(volume) ?? 0
  }

  /** So much of it shows in the volume's free space by now. */
  settleEnded(volume: string, bytes: number): void {
    const left = this.endedOn(volume) - bytes
    if (left > 0) this.#ended.set(volume, left)
    else this.#ended.delete(volume)
  }

  /** What is done now at that path, above or below it. */
  workAround(tenant: string, at: string): Promise<void>[] {
    const busy = this.#tenants.get(tenant)?.busy ?? []
    return [...busy].flatMap(({ grant, work }) =>
      work !== undefined && overlap(grant.at, at) ? [work] : [],
    )
  }

  /** Its place is taken; a crash forgets it. */
  reserve(stored: StoredGrant): Entry {
    return this.#put(stored, false)
  }

  /** As `reserve`, and a crash leaves it to be settled. Throws StoreError. */
  insert(stored: StoredGrant): Entry {
    this.#stored.insert(stored)
    return this.#put(stored, true)
  }

  /** From here on it is there after every start. */
  promise(entry: Entry): void {
    if (entry.written) return this.setState(entry, 'active')
    const { grant, requestKey } = entry
    this.#stored.insert({ grant, state: 'active', requestKey })
    entry.state = 'active'
    entry.written = true
  }

  setState(entry: Entry, state: GrantState): void {
    if (entry.state === state) return
    if (entry.written) this.#stored.setState(entry.grant.id, state)
    entry.state = state
  }

  /** The rule that allows it can be another one than it was. */
  setTerms(entry: Entry, policy: string, expiresAtMs: number | undefined): void {
    if (entry.grant.policy === policy && entry.grant.expiresAtMs === expiresAtMs) return
    this.#stored.setTerms(entry.grant.id, policy, expiresAtMs)
    const used = this.#tenants.get(entry.grant.tenant)?.used
    add(used, entry.grant.policy, -1)
    add(used, policy, 1)
    entry.grant = { ...entry.grant, policy, expiresAtMs }
  }

  remove(entry: Entry): void {
    if (entry.written) this.#stored.remove(entry.grant.id)
    const { id, tenant, at } = entry.grant
    if (!this.#byId.delete(id)) return
    const entries = this.#tenants.get(tenant)
    entries?.byPath.delete(at)
    entries?.busy.delete(entry)
    add(entries?.used, entry.grant.policy, -1)
    if (entries?.byPath.size === 0) this.#tenants.delete(tenant)
    entry.parent?.children.delete(entry)
    this.#count(entry, -1)
    const { volume } = entry.grant
    if (reservedBy(entry) > 0) this.#ended.set(volume, this.endedOn(volume) + reservedBy(entry))
  }

  setUsed(entry: Entry, usedBytes: number): void {
    if (entry.usedBytes === usedBytes || this.#byId.get(entry.grant.id) !== entry) return
    this.#count(entry, -1)
    entry.usedBytes = usedBytes
    this.#count(entry, 1)
  }

  /** Marks it busy until `work` is over. */
  async during<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
    const done = Promise.withResolvers<void>()
    entry.work = done.promise
    const busy = this.#tenants.get(entry.grant.tenant)?.busy
    busy?.add(entry)
    try {
      return await work()
    } finally {
      entry.work = undefined
      busy?.delete(entry)
      done.resolve()
    }
  }

  #put({ grant, state, requestKey }: StoredGrant, written: boolean): Entry {
    const entries = this.#tenants.get(grant.tenant) ?? {
      byPath: new Map(),
      busy: new Set(),
      used: new Map(),
    }
    this.#tenants.set(grant.tenant, entries)
    const parent = nearestAbove(entries.byPath, grant.at)
    const entry: Entry = {
      grant,
      state,
      written,
      requestKey,
      graft: undefined,
      backing: undefined,
      unavailable: undefined,
      drift: undefined,
      usedBytes: 0,
      parent,
      children: new Set(),
      work: undefined,
    }
    parent?.children.add(entry)
    entries.byPath.set(grant.at, entry)
    this.#byId.set(grant.id, entry)
    add(entries.used, grant.policy, 1)
    this.#count(entry, 1)
    return entry
  }

  #count(entry: Entry, sign: 1 | -1): void {
    const { volume } = entry.grant
    const placed = this.#placed.get(volume) ?? NOTHING
    const grants = placed.grants + sign
    if (grants === 0) this.#placed.delete(volume)
    else
      this.#placed.set(volume, {
        grants,
        reservedBytes: placed.reservedBytes + sign * reservedBy(entry),
      })
  }
}

/** What it may still write. */
function reservedBy({ grant: { mode, quotaBytes }, usedBytes }: Entry): number {
  return mode === 'rw' && quotaBytes !== undefined ? Math.max(0, quotaBytes - usedBytes) : 0
}

function add(used: Map<string, number> | undefined, policy: string, change: 1 | -1): void {
  used?.set(policy, (used.get(policy) ?? 0) + change)
}

function nearestAbove(byPath: ReadonlyMap<string, Entry>, at: string): Entry | undefined {
  for (let end = at.lastIndexOf('/'); end > 0; end = at.lastIndexOf('/', end - 1)) {
    const above = byPath.get(at.slice(0, end))
    if (above !== undefined && isWithin(at, above.grant.at)) return above
  }
  return undefined
}

/** With all that is nested in it, the innermost first. */
export function withNested(entry: Entry): Entry[] {
  return [...[...entry.children].flatMap(withNested), entry]
}
