/**
 * Volumes that are a filesystem in a file: as large as it was made, whatever happens around it. The
 * file lies below the state directory and is mounted below the runtime directory, both closed to all
 * but us. What is granted is a directory *in* the filesystem, so that a mount that is away is never
 * taken for an empty volume.
 */
import { chown, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Image, Volume } from '../types.ts'
import { makeDirectories } from '../../config/directories.ts'
import { imageBacking, imagePoints } from '../../config/paths.ts'
import { run } from './commands.ts'
import { deviceOf, mountedAt } from './loops.ts'

/** A filesystem of a terabyte is made in seconds: nothing in it is written yet. */
const MAKE_MS = 60_000
const MOUNT_MS = 30_000
export interface StorageDirectories {
  readonly state: string
  readonly runtime: string
}

type Imaged = Pick<Volume, 'name' | 'kind'> & { readonly image: Image }

export class Images {
  readonly #files: string
  readonly #points: string
  readonly #runtime: string

  constructor({ state, runtime }: StorageDirectories) {
    this.#files = path.join(state, 'images')
    this.#points = imagePoints(runtime)
    this.#runtime = runtime
  }

  /** What is left by a daemon that was killed: frozen filesystems thaw. Returns what is mounted. */
  async open(): Promise<string[]> {
    await makeDirectories(this.#files, 0o700)
    await makeDirectories(this.#points, 0o700)
    const mounted: string[] = []
    for (const name of await readdir(this.#points)) {
      if ((await this.#mounted(name)) !== 'ours') continue
      // Says EINVAL when it is not frozen.
      await run('fsfreeze', ['--unfreeze', this.point(name)], MOUNT_MS).catch(() => undefined)
      mounted.push(name)
    }
    return mounted
  }

  file(name: string): string {
    return path.join(this.#files, `${name}.image`)
  }

  /** Names of volumes begin with a letter or a digit. */
  draft(name: string): string {
    return path.join(this.#files, `.${name}.making`)
  }

  point(name: string): string {
    return path.join(this.#points, name)
  }

  backing(name: string): string {
    return imageBacking(this.#runtime, name)
  }

  /** undefined: there is none. */
  async sizeOf(name: string): Promise<number | undefined> {
    try {
      return (await stat(this.file(name))).size
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  /** The file, whole or not at all; all of its space is taken from where it lies. CommandError. */
  async make(name: string, { sizeBytes, filesystem }: Image): Promise<void> {
    const draft = this.draft(name)
    await rm(draft, { force: true })
    try {
      await using file = await open(draft, 'wx', 0o600)
      await run('fallocate', ['--length', String(sizeBytes), draft], MAKE_MS)
      // Without discarding, which would give the space back.
      if (filesystem === 'ext4')
        await run('mkfs.ext4', ['-q', '-F', '-m', '0', '-E', 'nodiscard', draft], MAKE_MS)
      else await run('mkfs.xfs', ['-q', '-K', draft], MAKE_MS)
      await file.sync()
      await this.publish(name)
    } catch (error) {
      await rm(draft, { force: true })
      throw error
    }
  }

  /** The draft gets the name of an image. */
  async publish(name: string): Promise<void> {
    await rename(this.draft(name), this.file(name))
    await using folder = await open(this.#files)
    await folder.sync()
  }

  /** Mounts it unless it is; CommandError, or an errno. */
  async mount({ name, kind, image }: Imaged): Promise<void> {
    const file = this.file(name)
    const point = this.point(name)
    await mkdir(point, { mode: 0o700 }).catch(ignore('EEXIST'))
    const there = await mountedAt(point, file)
    if (there === 'other') throw new Error(`something else is mounted at ${point}`)
    if (there === 'nothing') {
      // Never two devices of one file: each would write what the other does not know.
      const device = await deviceOf(file)
      const options = [...(device === undefined ? ['loop'] : []), ...optionsOf(kind, image)]
      const words = ['-t', image.filesystem, '-o', options.join(','), device ?? file, point]
      await run('mount', words, MOUNT_MS)
    }
    if (kind === 'image') await this.#makeRoot(name, image)
  }

  /** Its device goes with it; by force also when something of it is still open, and then later. */
  async unmount(name: string): Promise<void> {
    const point = this.point(name)
    if ((await this.#mounted(name)) === 'ours')
      await run('umount', [point], MOUNT_MS).catch(() => run('umount', ['-l', point], MOUNT_MS))
    await rmdir(point).catch(ignore('ENOENT'))
  }

  /** With what was begun of it. */
  async discard(name: string): Promise<void> {
    await rm(this.draft(name), { force: true })
    await rm(this.file(name), { force: true })
  }

  /** Names of what is mounted now. */
  async mounted(): Promise<string[]> {
    const names: string[] = []
    for (const name of (await readdir(this.#points).catch(ignore('ENOENT'))) ?? [])
      if ((await this.#mounted(name)) === 'ours') names.push(name)
    return names
  }

  async #mounted(name: string): Promise<'nothing' | 'other' | 'ours'> {
    try {
      return await mountedAt(this.point(name), this.file(name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'nothing'
      throw error
    }
  }

  /** Once; it has its owner before it has its name. */
  async #makeRoot(name: string, { owner }: Image): Promise<void> {
    const root = this.backing(name)
    if ((await stat(root).catch(ignore('ENOENT'))) !== undefined) return
    const draft = path.join(this.point(name), '.making')
    await mkdir(draft, { mode: 0o755 }).catch(ignore('EEXIST'))
    if (owner !== undefined) await chown(draft, owner.uid, owner.gid)
    await rename(draft, root)
  }
}

function optionsOf(kind: Volume['kind'], { filesystem }: Image): string[] {
  const plain = ['nosuid', 'nodev']
  if (kind !== 'snapshot') return filesystem === 'ext4' ? [...plain, 'errors=remount-ro'] : plain
  // It was taken of a frozen filesystem, so there is nothing to replay; xfs knows it as its origin.
  return ['ro', ...plain, ...(filesystem === 'ext4' ? ['noload'] : ['nouuid', 'norecovery'])]
}

function ignore(code: string): (error: unknown) => undefined {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code !== code) throw error
    return undefined
  }
}
