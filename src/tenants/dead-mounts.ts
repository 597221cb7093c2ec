/**
 * What a killed daemon left: mount points that answer nobody. Where we mount is written down before,
 * so that they are found again also when the configuration names them no more.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { unmountDetached } from '../file-server/native.ts'
import { INSITU_TYPE, mountAt, readMountTable } from '../file-server/mount-table.ts'

/** Somebody's mount that answers nothing at all is not ours to wait for. */
const PATIENCE_MS = 2_000
/** One on top of the other, when a start failed again and again. */
const MAX_STACKED = 16

/** open(2)'s, which Node does not name: the mount's root, without a word to its server. */
const O_PATH = 0o10_000_000

/** A mount that was taken away, held so that no other filesystem is given its number. */
export interface DeadConnection {
  readonly deviceMinor: number
  close(): Promise<void>
}

export class MountRecords {
  readonly #folder: string
  /** By where it was. */
  readonly #dead = new Map<string, DeadConnection[]>()

  constructor(runtimeDirectory: string) {
    this.#folder = path.join(runtimeDirectory, 'serving')
  }

  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
  }

  /** Before the mount. */
  async note(name: string, mountPoint: string): Promise<void> {
    const file = path.join(this.#folder, `${name}.json`)
    await writeFile(`${file}.new`, JSON.stringify({ mountPoint }), { mode: 0o600 })
    await rename(`${file}.new`, file)
  }

  /** After the unmount. */
  async strike(name: string): Promise<void> {
    await rm(path.join(this.#folder, `${name}.json`), { force: true })
  }

  /** Takes away what is dead of all that was noted; returns those mount points. */
  async recover(): Promise<string[]> {
    const recovered: string[] = []
    for (const file of await readdir(this.#folder)) {
      const place = path.join(this.#folder, file)
      const mountPoint = file.endsWith('.json') ? await readPlace(place) : undefined
      const dead = mountPoint === undefined ? [] : await recoverDeadMount(mountPoint)
      if (mountPoint !== undefined && dead.length > 0) {
        recovered.push(mountPoint)
        this.#dead.set(mountPoint, dead)
      }
      await rm(place, { force: true })
    }
    return recovered
  }

  /** What `recover` took away there, for whoever mounts there again. */
  takeDead(mountPoint: string): DeadConnection[] {
    const dead = this.#dead.get(mountPoint) ?? []
    this.#dead.delete(mountPoint)
    return dead
  }
}

async function readPlace(file: string): Promise<string | undefined> {
  try {
    const { mountPoint } = JSON.parse(await readFile(file, 'utf8')) as { mountPoint?: unknown }
    return typeof mountPoint === 'string' && path.isAbsolute(mountPoint) ? mountPoint : undefined
  } catch {
    return undefined // half written: then nothing was mounted yet
  }
}

/** Those of insitu's that were taken away, for the caller to close; other people's dead mounts are theirs. */
export async function recoverDeadMount(mountPoint: string): Promise<DeadConnection[]> {
  const recovered: DeadConnection[] = []
  for (let i = 0; i < MAX_STACKED; i += 1) {
    const mounted = mountAt(await readMountTable(), mountPoint)
    if (mounted?.type !== INSITU_TYPE) break
    if (!(await isDead(mountPoint))) break
    const root = await open(mountPoint, O_PATH)
    unmountDetached(mountPoint)
    recovered.push({ deviceMinor: mounted.minor, close: () => root.close() })
  }
  return recovered
}

/** Its server is gone: everything gives ENOTCONN. */
async function isDead(mountPoint: string): Promise<boolean> {
  const looked = stat(mountPoint).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'ENOTCONN',
  )
  const timeout = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => timeout.resolve(false), PATIENCE_MS)
  try {
    return await Promise.race([looked, timeout.promise])
  } finally {
    clearTimeout(timer)
  }
}
