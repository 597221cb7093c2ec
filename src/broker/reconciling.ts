/**
 * Makes mounts and table agree: when a tenant's mount comes (a start, a restart), when policies or
 * volumes change, and now and then. What is promised is mounted again; what was only intended goes.
 */
import { BrokerError } from './broker-error.ts'
import { NOBODY, record, type Context, type ServedTenant } from './context.ts'
import { graft } from './mounting.ts'
import type { Entry } from './grant-table.ts'
import { depthOf } from './paths.ts'
import { decide } from './policy.ts'
import type { Reconciliation } from './ports.ts'
import { inSlices, takeAll, takeAway } from './revoking.ts'
import type { Grant } from './types.ts'

/** What one report tells; the rest is in the audit. */
const MAX_ACTIONS = 100
/** Grafts under way at a time: the file server's threads, and as much again. */
const PARALLEL = 16

export class Report {
  restored = 0
  revoked = 0
  failed = 0
  readonly actions: string[] = []

  say(action: string): void {
    if (this.actions.length < MAX_ACTIONS) this.actions.push(action)
  }

  done(): Reconciliation {
    const { restored, revoked, failed, actions } = this
    return { restored, revoked, failed, actions }
  }
}

/** Its mount is fresh: nothing of the table is in it, and nothing should be in it that is not there. */
export async function restore(context: Context, served: ServedTenant): Promise<Reconciliation> {
  restoring.add(served)
  try {
    return await restoreAll(context, served)
  } finally {
    restoring.delete(served)
  }
}

/** Tidying would do the same beside it. */
const restoring = new WeakSet<ServedTenant>()
/** So that a round goes on with the others while one of an earlier round is still at it. */
const tidying = new WeakSet<ServedTenant>()

async function restoreAll(context: Context, served: ServedTenant): Promise<Reconciliation> {
  const report = new Report()
  await revokeStrangers(context, served, report)
  const entries = context.table.of(served.tenant.name)
  await settleIntents(context, entries, report)
  await settleTerms(context, served, report)
  // What lies in another grant comes after it.
  const left = context.table.of(served.tenant.name).filter((each) => each.graft === undefined)
  const byDepth = Map.groupBy(left, ({ grant }) => depthOf(grant.at))
  for (const depth of [...byDepth.keys()].toSorted((one, other) => one - other))
    await inSlices(byDepth.get(depth) ?? [], PARALLEL, (each) =>
      remount(context, served, each, report),
    )
  return report.done()
}

/** After a change of policies or volumes. Tenants beside each other, as one can make its own part take long. */
export async function reevaluate(context: Context): Promise<Reconciliation> {
  const report = new Report()
  await Promise.all(
    [...context.tenants.values()].map((served) => settleTerms(context, served, report)),
  )
  return report.done()
}

/** Intents that could not be carried out, and grants whose backing was away. */
export async function tidy(context: Context): Promise<Reconciliation> {
  const report = new Report()
  await Promise.all([...context.tenants.values()].map((served) => tidyOne(context, served, report)))
  return report.done()
}

async function tidyOne(context: Context, served: ServedTenant, report: Report): Promise<void> {
  if (restoring.has(served) || tidying.has(served)) return
  tidying.add(served)
  try {
    await settleDrift(context, served, report)
    const idle = context.table.of(served.tenant.name).filter(({ work }) => work === undefined)
    await settleIntents(context, idle, report)
    for (const entry of idle)
      if (entry.state === 'active' && entry.graft === undefined && entry.parent === undefined)
        await remount(context, served, entry, report)
    for (const entry of idle)
      if (entry.state === 'active' && entry.graft === undefined && entry.parent !== undefined)
        await remount(context, served, entry, report)
  } finally {
    tidying.delete(served)
  }
}

/** Mounts inside containers, which whoever is root in there may unmount or cover. Told once each way. */
async function settleDrift(
  context: Context,
  { tenant, mount }: ServedTenant,
  report: Report,
): Promise<void> {
  const entries = context.table.of(tenant.name).filter(({ grant }) => grant.inside !== undefined)
  if (entries.length === 0) return
  const drifted = await mount.drifted()
  for (const entry of entries) {
    const { grant, graft, work } = entry
    const why = graft === undefined ? undefined : drifted.get(graft)
    if (work !== undefined || why === entry.drift) continue
    entry.drift = why
    const reason = why ?? 'it is seen there again'
    record(context, {
      ...NOBODY,
      action: 'drift',
      outcome: why === undefined ? 'done' : 'failed',
      tenant: tenant.name,
      subject: grant.id,
      reason,
    })
    context.events.tell(why === undefined ? 'restored' : 'drifted', grant, Date.now(), reason)
    report.say(`the grant at "${grant.at}" of "${tenant.name}": ${reason}`)
  }
}

async function revokeStrangers(
  context: Context,
  { tenant, mount }: ServedTenant,
  report: Report,
): Promise<void> {
  const known = new Set(context.table.of(tenant.name).map((entry) => entry.graft))
  for (const { graft: number, at } of mount.grafts()) {
    if (known.has(number)) continue
    await mount.revoke(number).catch((error: unknown) => {
      context.log.error({ err: error, at }, 'a graft that nobody was granted stays')
    })
    report.revoked += 1
    report.say(`revoked what stood at "${at}": no grant says so`)
  }
}

/** `preparing` was promised to nobody, `revoking` is to go. */
async function settleIntents(
  context: Context,
  entries: readonly Entry[],
  report: Report,
): Promise<void> {
  for (const entry of entries) {
    if (entry.state === 'active' || entry.work !== undefined) continue
    const reason = entry.state === 'preparing' ? 'it was never completed' : 'it was to be revoked'
    try {
      if (!(await takeAway(context, entry, { event: 'revoked', actor: NOBODY, reason }))) continue
      report.revoked += 1
      report.say(`dropped the grant at "${entry.grant.at}": ${reason}`)
    } catch (error) {
      report.failed += 1
      context.log.warn({ err: error, grant: entry.grant.id }, 'an intent waits')
    }
  }
}

/** In the order in which they were given, as that counts for `maxGrants`. */
async function settleTerms(context: Context, served: ServedTenant, report: Report): Promise<void> {
  const entries = context.table
    .of(served.tenant.name)
    .filter(({ state }) => state === 'active')
    .toSorted((one, other) => one.grant.createdAtMs - other.grant.createdAtMs)
  const used = new Map<string, number>()
  const refused = new Map<string, Entry[]>()
  for (const entry of entries) {
    const reason = settle(context, served, entry, used)
    if (reason === undefined) context.onTerms(entry.grant.id, entry.grant.expiresAtMs)
    else pushTo(refused, reason, entry)
  }
  for (const [reason, those] of refused) {
    const { revoked, failed } = await takeAll(context, those, {
      event: 'revoked',
      actor: NOBODY,
      reason,
    })
    report.revoked += revoked
    report.failed += failed
    for (const { grant } of those)
      report.say(`revoked the grant at "${grant.at}" of "${grant.tenant}": ${reason}`)
  }
}

function pushTo<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [item])
  else list.push(item)
}

/** A reason to revoke it; else its terms are what is allowed now. */
function settle(
  { table, volumes, policies }: Context,
  { tenant }: ServedTenant,
  entry: Entry,
  used: Map<string, number>,
): string | undefined {
  const { grant } = entry
  if ((grant.expiresAtMs ?? Infinity) <= Date.now()) return 'its time was over'
  const volume = volumes.get(grant.volume)
  if (volume === undefined) return `there is no volume "${grant.volume}" any more`
  if (!volume.modes.includes(grant.mode)) return `"${volume.name}" cannot be ${grant.mode} now`
  if (entry.backing !== undefined && entry.backing !== volume.backing)
    return `"${volume.name}" is somewhere else now`
  const { mode, subpath, quotaBytes, compute } = grant
  const decision = decide({
    tenant,
    volume,
    request: { mode, subpath, quotaBytes, compute, ttlMs: ttlOf(grant) },
    policies: policies.all(),
    used,
    nowMs: grant.createdAtMs,
  })
  if (!decision.allowed) return `${decision.code}: ${decision.reason}`
  used.set(decision.policy, (used.get(decision.policy) ?? 0) + 1)
  table.setTerms(entry, decision.policy, decision.expiresAtMs)
  return undefined
}

function ttlOf({ createdAtMs, expiresAtMs }: Grant): number | undefined {
  return expiresAtMs === undefined ? undefined : expiresAtMs - createdAtMs
}

async function remount(
  context: Context,
  served: ServedTenant,
  entry: Entry,
  report: Report,
): Promise<void> {
  const { table, events, volumes } = context
  const { grant } = entry
  if (table.get(grant.id) !== entry || entry.work !== undefined) return
  let ended = false
  await table.during(entry, async () => {
    try {
      entry.graft = await graft(context, served, grant)
      entry.backing = volumes.get(grant.volume)?.backing
      await served.mount.shown(entry.graft)
      report.restored += 1
      events.tell('restored', grant, Date.now())
    } catch (error) {
      ended = error instanceof BrokerError && error.code === 'container-gone'
      if (ended) return
      report.failed += 1
      const why = error instanceof BrokerError ? error.message : String(error)
      report.say(`the grant at "${grant.at}" of "${grant.tenant}" is not there: ${why}`)
      // Once, not at every try.
      if (entry.unavailable !== why)
        record(context, {
          ...NOBODY,
          action: 'restore',
          outcome: 'failed',
          tenant: grant.tenant,
          subject: grant.id,
          reason: why,
        })
      entry.unavailable = why
      events.tell('unavailable', grant, Date.now(), why)
      return
    }
    entry.unavailable = undefined
  })
  if (!ended) return
  const reason = 'its container ended'
  const { revoked } = await takeAll(context, [entry], { event: 'revoked', actor: NOBODY, reason })
  report.revoked += revoked
  report.say(`dropped the grant at "${grant.at}": ${reason}`)
}
