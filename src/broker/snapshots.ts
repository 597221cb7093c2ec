/** Read-only volumes that are another one as it was at a point in time. */
import { lstat } from 'node:fs/promises'
import path from 'node:path'
import { BrokerError } from './broker-error.ts'
import { record, type Context } from './context.ts'
import { hasImage, intended, provide, toProblem, type ImagedVolume } from './making.ts'
import { isWithin } from './paths.ts'
import { copyImage, copyTree, faultOfFolder, HOLD_MS, makeFolder } from './storage/copies.ts'
import type { Actor } from './store/audit.ts'
import type { Volume } from './types.ts'

export interface SnapshotRequest {
  /** Undefined: the volume's, with the time. */
  readonly name: string | undefined
  /** Of a directory: where the copy is made; undefined: below the state directory. */
  readonly into: string | undefined
}

export interface Taken {
  readonly volume: Volume
  /** How it was done, in one line. */
  readonly how: string
}

/** BrokerError: what cannot be had as it was at one moment is refused. */
export async function takeSnapshot(
  context: Context,
  of: string,
  request: SnapshotRequest,
  actor: Actor,
): Promise<Taken> {
  const nowMs = Date.now()
  const name = request.name ?? nameAt(of, nowMs)
  const audit = { ...actor, action: 'volume-snapshot', tenant: undefined, subject: name } as const
  try {
    // Before anything waits for anything: a name that is free is no volume that somebody works on.
    refuse(context, of, name)
    const taken = await context.volumeTurns.take(of, () =>
      context.volumeTurns.take(name, () => take(context, of, name, request.into, nowMs)),
    )
    record(context, { ...audit, outcome: 'done', reason: `of "${of}": ${taken.how}` })
    return taken
  } catch (error) {
    const problem = toProblem(error)
    const outcome = problem instanceof BrokerError ? 'refused' : 'failed'
    const reason = problem instanceof Error ? problem.message : String(problem)
    record(context, { ...audit, outcome, reason: `of "${of}": ${reason}` })
    throw problem
  }
}

async function take(
  context: Context,
  of: string,
  name: string,
  into: string | undefined,
  takenAtMs: number,
): Promise<Taken> {
  const { images } = context
  const volume = refuse(context, of, name)
  const { class: level, labels } = volume
  const common = {
    name,
    kind: 'snapshot',
    class: level,
    labels,
    modes: ['ro'],
    draining: false,
    snapshot: { of, takenAtMs },
  } as const
  if (!hasImage(volume)) return await ofDirectory(context, volume, { ...common, into })
  if (into !== undefined)
    throw new BrokerError('bad-request', 'a snapshot of an image lies beside it: leave "into" out')
  const made = { ...common, backing: images.backing(name), image: volume.image }
  return { volume: made, how: await ofImage(context, volume, made) }
}

/**
 * Those who write through grants, so that there is a moment without any. Whoever writes otherwise (on the
 * backing itself, or where the kernel serves the bytes) is not held; the copy tells if one did.
 */
async function holdWriters({ table, tenants }: Context, volume: string): Promise<() => void> {
  const held = [...table.all()].flatMap(({ grant, graft }) => {
    const mount = tenants.get(grant.tenant)?.mount
    const writes = grant.volume === volume && grant.mode === 'rw'
    return writes && graft !== undefined && mount !== undefined ? [{ mount, graft }] : []
  })
  const letGo = (): void => {
    for (const { mount, graft } of held) mount.letWrite(graft)
  }
  try {
    await Promise.all(held.map(({ mount, graft }) => mount.holdWrites(graft, HOLD_MS)))
    return letGo
  } catch (error) {
    letGo()
    throw error
  }
}

function refuse({ volumes }: Context, of: string, name: string): Volume {
  const volume = volumes.get(of)
  if (volume === undefined) throw new BrokerError('unknown-volume', `there is no volume "${of}"`)
  if (volumes.get(name) !== undefined)
    throw new BrokerError('exists', `there is a volume "${name}" already`)
  if (volume.kind === 'snapshot')
    throw new BrokerError('not-possible', `"${of}" is a snapshot and stays as it is`)
  return volume
}

async function ofImage(
  context: Context,
  volume: ImagedVolume,
  made: ImagedVolume,
): Promise<string> {
  const { images, volumes } = context
  const { name } = made
  if ((await images.sizeOf(name)) !== undefined)
    throw new BrokerError(
      'exists',
      `an image was kept of "${name}": purge it, or take another name`,
    )
  // Else the file is not what is written to.
  const fault = await provide(context, volume, false)
  if (fault !== undefined) throw new BrokerError('unhealthy', `"${volume.name}": ${fault}`)
  let how = ''
  await intended(context, made, false, async () => {
    how = await copyImage(images.point(volume.name), images.file(volume.name), images.draft(name))
    await images.publish(name)
    await images.mount(made)
  })
  await volumes.put(made)
  return how
}

async function ofDirectory(
  context: Context,
  volume: Volume,
  { into, ...common }: Omit<Volume, 'backing'> & { readonly into: string | undefined },
): Promise<Taken> {
  const folder = into ?? context.snapshotFolder
  if (!path.isAbsolute(folder) || path.normalize(folder) !== folder)
    throw new BrokerError('bad-path', '"into" is an absolute path without "." and ".."')
  if (into === undefined) await makeFolder(folder)
  const fault = await faultOfFolder(folder)
  if (fault !== undefined) throw new BrokerError('not-possible', fault)
  for (const other of context.volumes.all())
    if (isWithin(folder, other.backing))
      throw new BrokerError('not-possible', `"into" lies in the volume "${other.name}"`)
  const made: Volume = { ...common, backing: path.join(folder, common.name) }
  // What is there is not ours to take away when this fails.
  if (await exists(made.backing))
    throw new BrokerError(
      'exists',
      `${made.backing} is there already: remove it, or take another name`,
    )
  let how = ''
  await intended(context, made, false, async () => {
    const letGo = await holdWriters(context, volume.name)
    const begunMs = Date.now()
    try {
      how = await copyTree(volume.backing, made.backing)
    } finally {
      letGo()
    }
    how += `, writers held for ${Math.min(Date.now() - begunMs, HOLD_MS)} ms`
  })
  await context.volumes.put(made)
  return { volume: made, how }
}

async function exists(place: string): Promise<boolean> {
  return (await lstat(place).catch(() => undefined)) !== undefined
}

/** As `data-20260102T030405`; another one of the same second has to be named. */
function nameAt(of: string, nowMs: number): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\..*$/g, '')
  return `${of.slice(0, 47)}-${time}`
}
