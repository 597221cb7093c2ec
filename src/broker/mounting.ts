/**
 * Giving a grant: choose, reserve, graft, promise. Reserving is one synchronous step, so of many
 * requests for one path one wins.
 */
import { randomBytes } from 'node:crypto'
import { BrokerError, fromGraftError } from './broker-error.ts'
import { record, served, type Context, type ServedTenant } from './context.ts'
import type { Entry } from './grant-table.ts'
import { select, type Candidate, type Explanation, type Selection } from './select.ts'
import type { InsideChange } from './ports.ts'
import type { Actor } from './store/audit.ts'
import type { Grant, MountRequest, Tenant } from './types.ts'

export interface Mounted {
  readonly grant: Grant
  /** False: the same request, by its key, made it before. */
  readonly created: boolean
  readonly explanations: readonly Explanation[]
}

export interface Requested {
  readonly actor: Actor
  /** Idempotency-Key. */
  readonly key: string | undefined
}

/** BrokerError. Resolves once the tenant's mount shows it. */
export async function mountGrant(
  context: Context,
  name: string,
  request: MountRequest,
  { actor, key }: Requested,
): Promise<Mounted> {
  const { table } = context
  const { tenant } = served(context, name)
  for (;;) {
    const { at, inside } = request
    const taken = table.at(name, at) ?? (inside && table.inside(name, inside))
    if (taken !== undefined) {
      const again = await sameRequest(context, taken, key)
      if (again !== undefined) return { grant: again, created: false, explanations: [] }
      throw new BrokerError('at-taken', `a grant stands at "${request.at}" already`)
    }
    // Below or above something that comes or goes: its directories are in flux.
    const work = table.workAround(name, request.at)
    if (work.length === 0) break
    await Promise.all(work)
  }
  const nowMs = Date.now()
  const selection = explain(context, tenant, request, nowMs)
  const { explanations } = selection
  if (selection.chosen === undefined) {
    const { code, reason } = selection.refusal
    record(context, {
      ...actor,
      action: 'mount',
      outcome: 'refused',
      tenant: name,
      subject: request.volume,
      reason: `${code}: ${reason}`,
    })
    throw new BrokerError(code, reason, request.volume === undefined ? { explanations } : {})
  }
  const grant = toGrant(tenant, request, selection, nowMs)
  const intent = { grant, state: 'preparing', requestKey: key } as const
  // What a daemon that dies leaves in the tenant's mount goes with that; in a container it stays, and is
  // found by what was written down.
  const entry = request.inside === undefined ? table.reserve(intent) : table.insert(intent)
  await table.during(entry, () => prepare(context, entry, actor))
  return { grant, created: true, explanations }
}

/** What would be chosen, and why; changes nothing. */
export function explain(
  { table, volumes, policies }: Context,
  tenant: Tenant,
  request: Omit<MountRequest, 'at'>,
  nowMs = Date.now(),
): Selection {
  const all = request.volume === undefined ? volumes.all() : [volumes.get(request.volume)]
  const candidates = all.flatMap((volume): Candidate[] =>
    volume === undefined ? [] : [volumes.candidate(volume, table.placedOn(volume.name))],
  )
  return select({
    tenant,
    request,
    candidates,
    policies: policies.all(),
    used: table.usedBy(tenant.name),
    nowMs,
  })
}

/** The file server's part; throws what a tenant may read. */
export async function graft(
  { volumes, log, onInside }: Context,
  { mount }: ServedTenant,
  { id, at, inside, volume, subpath, mode, revocable, quotaBytes, compute }: Grant,
): Promise<number> {
  const backing = volumes.get(volume)?.backing
  if (backing === undefined)
    throw new BrokerError('backing-unavailable', `there is no volume "${volume}" now`)
  const options = { readOnly: mode === 'ro', revocable, quotaBytes, compute }
  try {
    if (inside === undefined) return await mount.graft(at, { backing, subpath }, options)
    const onChange = (change: InsideChange): void => onInside(id, change)
    return await mount.inject(inside, { backing, subpath }, options, onChange)
  } catch (error) {
    log.warn({ err: error, at, volume }, 'a volume could not be grafted')
    throw fromGraftError(error, at)
  }
}

async function prepare(context: Context, entry: Entry, actor: Actor): Promise<void> {
  const { table, store, events } = context
  const { grant } = entry
  const audit = { ...actor, action: 'mount', tenant: grant.tenant, subject: grant.id } as const
  try {
    const tenant = served(context, grant.tenant)
    entry.graft = await graft(context, tenant, grant)
    entry.backing = context.volumes.get(grant.volume)?.backing
    if (table.get(grant.id) !== entry)
      throw new BrokerError('not-ready', `"${grant.tenant}" is being removed`)
    store.transaction(() => {
      table.promise(entry)
      const reason = `"${grant.volume}" ${grant.mode} at "${grant.at}" by "${grant.policy}"`
      store.audit.append({ ...audit, outcome: 'done', reason }, grant.createdAtMs)
    })
    // The kernel was told meanwhile.
    await tenant.mount.shown(entry.graft)
  } catch (error) {
    await undo(context, entry)
    const reason = error instanceof Error ? error.message : String(error)
    record(context, { ...audit, outcome: 'failed', reason })
    throw error
  }
  context.onTerms(grant.id, grant.expiresAtMs)
  events.tell('mounted', grant, grant.createdAtMs)
}

/** It was promised to nobody. What cannot be written now is found as an intent and taken away later. */
async function undo(context: Context, entry: Entry): Promise<void> {
  const { table, tenants, log } = context
  try {
    if (entry.graft !== undefined) await tenants.get(entry.grant.tenant)?.mount.revoke(entry.graft)
    entry.graft = undefined
    table.remove(entry)
  } catch (error) {
    entry.state = 'revoking'
    log.error({ err: error, grant: entry.grant.id }, 'a grant that failed stays for now')
  }
}

/** A request that was repeated because its answer was lost. */
async function sameRequest(
  { table }: Context,
  entry: Entry,
  key: string | undefined,
): Promise<Grant | undefined> {
  if (key === undefined || entry.requestKey !== key) return undefined
  await entry.work
  const there = table.get(entry.grant.id) === entry && entry.state === 'active'
  return there ? entry.grant : undefined
}

function toGrant(
  tenant: Tenant,
  request: MountRequest,
  { chosen, decision }: Extract<Selection, { decision: unknown }>,
  nowMs: number,
): Grant {
  return {
    id: randomBytes(10).toString('hex'), // 80 random bits: never used before
    tenant: tenant.name,
    volume: chosen.name,
    policy: decision.policy,
    at: request.at,
    ...(request.inside === undefined ? {} : { inside: request.inside }),
    mode: request.mode,
    subpath: request.subpath,
    compute: request.compute,
    revocable: decision.revocable,
    quotaBytes: decision.quotaBytes,
    createdAtMs: nowMs,
    expiresAtMs: decision.expiresAtMs,
  }
}
