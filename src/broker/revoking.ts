/** Taking grants away: by their tenant, by force, by time, by a change of policy. */
import { setTimeout as sleep } from 'node:timers/promises'
import { errnoOf } from '../errors.ts'
import { BrokerError, fromGraftError } from './broker-error.ts'
import { record, type Context } from './context.ts'
import type { EventType } from './events.ts'
import { withNested, type Entry } from './grant-table.ts'
import type { Holder } from './holders.ts'
import type { Actor, AuditAction } from './store/audit.ts'
import type { Grant } from './types.ts'

export interface Cause {
  readonly event: Extract<EventType, 'unmounted' | 'revoked' | 'expired'>
  readonly actor: Actor
  readonly reason: string | undefined
}

const ACTIONS: Readonly<Record<Cause['event'], AuditAction>> = {
  unmounted: 'unmount',
  revoked: 'revoke',
  expired: 'expire',
}

/** Between two looks at what is open. */
const LOOK_MS = 50

/**
 * Revokes, with what is nested in it. Resolves when nothing of it can be reached; false: it was gone.
 * BrokerError `busy`: not revocable and open. When the state cannot be written it is revoked all the
 * same, and written later: what an operator takes away must go.
 */
export async function takeAway(context: Context, entry: Entry, cause: Cause): Promise<boolean> {
  const { table } = context
  // Also what is coming inside it; once this one is marked, nothing else begins there.
  for (;;) {
    const busy = withNested(entry).find(({ work }) => work !== undefined)
    if (busy === undefined) break
    await busy.work
  }
  if (table.get(entry.grant.id) !== entry) return false
  return await table.during(entry, async () => {
    const entries = withNested(entry)
    // The file server refuses already while this is written.
    const going = ungraftAll(context, entry, entries)
    const fault = intend(context, entries)
    await going
    for (const each of entries) each.graft = undefined
    if (fault !== undefined) throw fault
    finish(context, entries, cause)
    return true
  })
}

/** Writes down that they go. A fault is given back: it must not keep them. */
function intend({ store, table, log }: Context, entries: readonly Entry[]): Error | undefined {
  try {
    store.transaction(() => {
      for (const each of entries) table.setState(each, 'revoking')
    })
    return undefined
  } catch (error) {
    log.error({ err: error }, 'a revocation could not be written down; it is done all the same')
    for (const each of entries) each.state = 'revoking'
    return error as Error
  }
}

/** Those inside containers are mounts of their own, also when they stand in each other. */
async function ungraftAll(
  context: Context,
  entry: Entry,
  entries: readonly Entry[],
): Promise<void> {
  for (const each of entries)
    if (each === entry || each.grant.inside !== undefined) await ungraft(context, each, entries)
}

async function ungraft(
  { tenants, table, log }: Context,
  { grant, graft }: Entry,
  entries: readonly Entry[],
): Promise<void> {
  const mount = tenants.get(grant.tenant)?.mount
  if (mount === undefined) return // it went with the mount
  if (graft === undefined) return grant.inside && mount.clear(grant.inside)
  try {
    await mount.revoke(graft)
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOENT' || errno === 'ENOTCONN') return
    if (errno === 'EBUSY') for (const each of entries) table.setState(each, 'active')
    else log.error({ err: error, grant: grant.id }, 'a grant could not be revoked; tried again')
    throw fromGraftError(error, grant.at)
  }
}

function finish(context: Context, entries: readonly Entry[], cause: Cause): void {
  const { store, table, events } = context
  const now = Date.now()
  const gone = entries.filter((each) => table.get(each.grant.id) === each)
  store.transaction(() => {
    for (const each of gone) {
      table.remove(each)
      store.audit.append(
        {
          ...cause.actor,
          action: ACTIONS[cause.event],
          outcome: 'done',
          tenant: each.grant.tenant,
          subject: each.grant.id,
          reason: cause.reason,
        },
        now,
      )
    }
  })
  for (const { grant } of gone) {
    context.onTerms(grant.id, undefined)
    events.tell(cause.event, grant, now, cause.reason)
  }
}

export interface UnmountOptions {
  readonly force: boolean
  /** For what is open to be closed; 0: do not wait. */
  readonly waitMs: number
  readonly signal: AbortSignal | undefined
}

/** For its tenant. Undefined: nothing is there, which is what was asked for. */
export async function unmountGrant(
  context: Context,
  entry: Entry | undefined,
  options: UnmountOptions,
  actor: Actor,
): Promise<Grant | undefined> {
  if (entry === undefined) return undefined
  if (!options.force) await untilUnused(context, entry, options)
  const reason = options.force ? 'by force' : undefined
  return (await takeAway(context, entry, { event: 'unmounted', actor, reason }))
    ? entry.grant
    : undefined
}

async function untilUnused(
  context: Context,
  entry: Entry,
  { waitMs, signal }: UnmountOptions,
): Promise<void> {
  const { events, table } = context
  const { grant } = entry
  const endMs = Date.now() + waitMs
  let told = false
  while (table.get(grant.id) === entry && openIn(context, entry) > 0) {
    if (signal?.aborted) throw new BrokerError('busy', 'nobody waits for it any more')
    if (!told && waitMs > 0) {
      told = true
      events.tell('busy', grant, Date.now(), describe(await holdersOf(context, entry)))
    }
    if (Date.now() >= endMs) {
      const holders = await holdersOf(context, entry)
      const text = holders.length === 0 ? '' : ` by ${describe(holders)}`
      throw new BrokerError('busy', `"${grant.at}" is in use${text}; force takes it away`, {
        holders,
      })
    }
    await sleep(Math.min(LOOK_MS, Math.max(1, endMs - Date.now())))
  }
}

/** Files and directories open or mapped in it and what is nested in it. */
export function openIn({ tenants }: Context, entry: Entry): number {
  if (entry.graft === undefined) return 0
  return tenants.get(entry.grant.tenant)?.mount.openHandles(entry.graft) ?? 0
}

/** Another's process is told of by its number only. */
export async function holdersOf(context: Context, { grant, graft }: Entry): Promise<Holder[]> {
  const served = context.tenants.get(grant.tenant)
  if (served === undefined) return []
  const { mount, tenant } = served
  const { first, count } = tenant.ids
  const own = { deviceMinor: mount.deviceMinor, at: grant.at }
  const place = mount.grafts().find((each) => each.graft === graft)
  const query = grant.inside === undefined ? own : (place ?? own)
  const holders = await context.holderLooks.of(grant.tenant, grant.id, query)
  return holders.map((each) =>
    each.uid >= first && each.uid < first + count ? each : { ...each, command: '(not yours)' },
  )
}

function describe(holders: readonly Holder[]): string {
  return holders.map(({ pid, command }) => `${command} (${pid})`).join(', ')
}

/** In slices, so that ten thousand at once do not take all that others wait for. */
export async function inSlices<T>(
  items: Iterable<T>,
  size: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const left = items[Symbol.iterator]()
  const worker = async (): Promise<void> => {
    for (let next = left.next(); next.done !== true; next = left.next()) await work(next.value)
  }
  await Promise.all(Array.from({ length: size }, worker))
}

/** Revokes what can be; the rest is logged and counted. A tenant can make each of its own take long, and delays
 * those of nobody else by it. */
export async function takeAll(
  context: Context,
  entries: readonly Entry[],
  cause: Cause,
): Promise<{ readonly revoked: number; readonly failed: number }> {
  let [revoked, failed] = [0, 0]
  const take = async (entry: Entry): Promise<void> => {
    try {
      if (await takeAway(context, entry, cause)) revoked += 1
    } catch (error) {
      failed += 1
      const { message } = error as Error
      record(context, {
        ...cause.actor,
        action: ACTIONS[cause.event],
        outcome: 'failed',
        tenant: entry.grant.tenant,
        subject: entry.grant.id,
        reason: message,
      })
    }
  }
  const byTenant = Map.groupBy(entries, ({ grant }) => grant.tenant)
  await Promise.all([...byTenant.values()].map((those) => inSlices(those, 8, take)))
  return { revoked, failed }
}
