/**
 * What a daemon that ended left. A killed one: mount points that answer nobody; where we mount is written down
 * before, so that they are found again also when the configuration names them no more. One that was stopped: for a
 * tenant that containers have something of, a dead mount beside the note, by which that is known for its own.
 */
import {
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises'
import path from 'node:path'
import { cloneMounted, type MountClone, unmountDetached } from '../file-server/native.ts'
import { isBoundElsewhere } from '../containers/renewal.ts'
import { INSITU_TYPE, mountAt, readMountTable } from '../file-server/mount-table.ts'
import type { Logger } from '../telemetry/log.ts'

/** Somebody's mount that answers nothing at all is not ours to wait for. */
const PATIENCE_MS = 2_000
/** One on top of the other, when a start failed again and again. */
const MAX_STACKED = 16

/** Ends what a held mount stands at. */
const HELD = '.held'

/** open(2)'s, which Node does not name: the mount's root, without a word to its server. */
const O_PATH = 0o10_000_000

/** A mount that was taken away, held so that no other filesystem is given its number. */
export interface DeadConnection {
  readonly deviceMinor: number
  close(): Promise<void>
}

interface Held {
  readonly mountPoint: string
  readonly deviceMinor: number
}

const UNKNOWN = 'what containers have of the mount stays dead'

export class MountRecords {
  readonly #folder: string
  /** By where it was. */
  readonly #dead = new Map<string, DeadConnection[]>()
  /** By tenant. */
  readonly #holding = new Map<string, Promise<void>>()

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

  /**
   * Before the unmount; call what it returns after it. If another mount namespace then shows something of the mount
   * still, that stays known to the next that serves the tenant.
   */
  hold(name: string, { mountPoint, deviceMinor }: Held, log: Logger): () => void {
    let clone: MountClone
    try {
      clone = cloneMounted(mountPoint, deviceMinor)
    } catch (error) {
      log.warn({ err: error }, UNKNOWN)
      return () => undefined
    }
    const keep = async (): Promise<void> => {
      try {
        if (!(await isBoundElsewhere(deviceMinor))) return
        const place = this.#held(name)
        await mkdir(place, { recursive: true, mode: 0o700 })
        clone.attach(place)
      } catch (error) {
        log.warn({ err: error }, UNKNOWN)
      } finally {
        clone.close()
        this.#holding.delete(name)
      }
    }
    return () => this.#holding.set(name, keep())
  }

  /** What was unmounted is held, if it is to be. */
  async settled(): Promise<void> {
    await Promise.all(this.#holding.values())
  }

  /** What `hold` kept, taken away. */
  async takeHeld(name: string): Promise<DeadConnection[]> {
    await this.#holding.get(name)
    const place = this.#held(name)
    const held = await recoverDeadMount(place)
    await rmdir(place).catch(() => undefined) // most often there is none
    return held
  }

  /** Once all tenants have begun: what is held for others is nobody's. */
  async releaseOthers(names: ReadonlySet<string>): Promise<void> {
    for (const entry of await readdir(this.#folder)) {
      const name = entry.endsWith(HELD) ? entry.slice(0, -HELD.length) : undefined
      if (name === undefined || names.has(name)) continue
      for (const held of await this.takeHeld(name)) await held.close()
    }
  }

  /** Takes away what is dead of all that was noted; returns those mount points. */
  async recover(): Promise<string[]> {
    const recovered: string[] = []
    for (const file of await readdir(this.#folder)) {
      if (file.endsWith(HELD)) continue
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

  #held(name: string): string {
    return path.join(this.#folder, `${name}${HELD}`)
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
