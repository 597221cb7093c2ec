/**
 * Bind mounts of a directory of a tenant's mount in other mount namespaces, as containers have them of their
 * engine, when the server of that mount died: each is replaced by one of the same directory of the new mount.
 */
import { readdir, readlink } from 'node:fs/promises'
import { renew } from './attach.ts'
import { identify } from './consumer.ts'
import { mountsOf, type SeenMount } from './mount-view.ts'

export interface RenewalOptions {
  /** Of the dead connection; whoever asks sees to it that no other has the number meanwhile. */
  readonly deviceMinor: number
  /** Where the new mount is. */
  readonly mountPoint: string
  /** What of it is not there now, and would be an empty directory instead. */
  readonly isAbsent: (root: string) => boolean
}

export interface Renewal {
  readonly renewed: number
  /** Those that are left, also as nobody's: their namespace went, or something is mounted in them. */
  readonly left: number
}

/** Never rejects for the sake of one container. */
export async function renewBinds(options: RenewalOptions): Promise<Renewal> {
  const { deviceMinor, mountPoint, isAbsent } = options
  let [renewed, seen] = [0, 0]
  for (const [pid, mounts] of await lookAround()) {
    const dead = mounts.get(deviceMinor) ?? []
    if (dead.length === 0) continue
    seen += dead.length
    const wanted = dead.filter(({ root }) => !isAbsent(root)).map(toTree)
    // One of ours is no container: it is taken away where it was mounted.
    const identified = await identify(pid, { container: undefined, startTicks: undefined })
    if (wanted.length === 0 || !('consumer' in identified)) continue
    const { consumer } = identified
    renewed += await renew(consumer, deviceMinor, mountPoint, wanted).catch(() => 0)
  }
  return { renewed, left: seen - renewed }
}

/** Whether a mount namespace other than ours shows something of that connection, as of now. */
export async function isBoundElsewhere(deviceMinor: number): Promise<boolean> {
  return [...(await lookAfresh()).values()].some((mounts) => mounts.has(deviceMinor))
}

function toTree({ options, root }: SeenMount): string {
  return `${options}:${root}`
}

/** By a process in each namespace: what it has mounted, by device. */
type Around = ReadonlyMap<number, ReadonlyMap<number, readonly SeenMount[]>>

/** All tenants of a daemon look when it starts. */
const SHARED_MS = 1_000
let last: { readonly atMs: number; readonly around: Promise<Around> } | undefined

function lookAround(): Promise<Around> {
  const nowMs = Date.now()
  if (last === undefined || nowMs - last.atMs > SHARED_MS)
    last = { atMs: nowMs, around: readAround() }
  return last.around
}

let current: Promise<unknown> = Promise.resolve()
let following: Promise<Around> | undefined

/** A look that begins after the call; one for all who ask while another is under way. */
function lookAfresh(): Promise<Around> {
  following ??= current.then(() => {
    following = undefined
    const around = readAround()
    current = around.catch(() => undefined)
    return around
  })
  return following
}

async function readAround(): Promise<Around> {
  const around = new Map<number, ReadonlyMap<number, readonly SeenMount[]>>()
  for (const pid of await oneOfEach()) {
    const mounts = (await mountsOf(pid).catch(() => undefined)) ?? []
    around.set(
      pid,
      Map.groupBy(mounts, ({ deviceMinor }) => deviceMinor ?? Number.NaN),
    )
  }
  return around
}

/** A process in each mount namespace but our own. */
async function oneOfEach(): Promise<Iterable<number>> {
  const found = new Map<string, number>()
  const own = await readlink('/proc/self/ns/mnt')
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const namespace = await readlink(`/proc/${name}/ns/mnt`).catch(() => own)
    if (namespace !== own && !found.has(namespace)) found.set(namespace, Number(name))
  }
  return found.values()
}
