/**
 * What a killed daemon left: mount points that answer nobody. Where we mount is written down before,
 * so that they are found again also when the configuration names them no more.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { unmountDetached } from '../file-server/native.ts'
import { INSITU_TYPE, mountAt, readMountTable } from '../file-server/mount-table.ts'

/** Somebody's mount that answers nothing at all is not ours to wait for. */
const PATIENCE_MS = 2_000
/** One on top of the other, when a start failed again and again. */
const MAX_STACKED = 16

export class MountRecords {
  readonly #folder: string

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
      if (mountPoint !== undefined && (await recoverDeadMount(mountPoint)))
        recovered.push(mountPoint)
      await rm(place, { force: true })
    }
    return recovered
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

/** Whether one of insitu's was taken away; other people's dead mounts are theirs. */
export async function recoverDeadMount(mountPoint: string): Promise<boolean> {
  let recovered = false
  for (let i = 0; i < MAX_STACKED; i += 1) {
    if (mountAt(await readMountTable(), mountPoint)?.type !== INSITU_TYPE) break
    if (!(await isDead(mountPoint))) break
    unmountDetached(mountPoint)
    recovered = true
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
