/**
 * Paths of the mount to places in the backing directory, and never out of it.
 *
 * libfuse gives paths whose components the kernel has looked up one by one, without `..` and without
 * following links. But another process may put a link in the place of a directory meanwhile, so a
 * directory is used through a descriptor of which the kernel said that it stands at that very path.
 */
import { closeSync, constants, openSync, readlinkSync } from 'node:fs'
import { LRUCache } from 'lru-cache'
import { VfsError } from '../../errors.ts'

const { O_DIRECTORY, O_NOFOLLOW } = constants
/** Not among Node's constants; the same on all but historic machines. */
export const O_PATH = 0o10000000
const DIRECTORY = O_PATH | O_DIRECTORY | O_NOFOLLOW

/** Each costs a descriptor and keeps a directory busy; a tree walk comes back to few at a time. */
const KEPT_DIRECTORIES = 256

/** What UTF-8 decoding makes of bytes that are none: the name that was meant is lost. */
const REPLACEMENT = '\ufffd'

export class Backing {
  readonly #root: number
  readonly #rootPath: string
  readonly #directories = new LRUCache<string, number>({
    max: KEPT_DIRECTORIES,
    dispose: (fd) => closeSync(fd),
  })

  /** @throws what open(2) throws. */
  constructor(backing: string) {
    this.#root = openSync(backing, O_PATH | O_DIRECTORY)
    const real = readlinkSync(through(this.#root))
    this.#rootPath = real === '/' ? '' : real
  }

  get keptDirectories(): number {
    return this.#directories.size
  }

  /**
   * Where `path` ('/', '/a/b') is, for calls that do not follow their last component. Good until
   * the next time that anything is awaited.
   */
  at(path: string): string {
    if (path.includes(REPLACEMENT))
      throw new VfsError('EILSEQ', 'fuse-native serves names in UTF-8 only')
    if (path === '/') return `${through(this.#root)}/.`
    const cut = path.lastIndexOf('/')
    const name = path.slice(cut + 1)
    if (name === '' || name === '.' || name === '..') throw new VfsError('EINVAL', 'not a name')
    return `${through(this.#directory(path.slice(0, cut)))}/${name}`
  }

  /** An O_PATH descriptor of what is at `path`, a link itself included; the caller closes it. */
  open(path: string): number {
    return openSync(this.at(path), O_PATH | O_NOFOLLOW)
  }

  close(): void {
    this.#directories.clear()
    closeSync(this.#root)
  }

  #directory(path: string): number {
    if (path === '') return this.#root
    const known = this.#directories.get(path)
    if (known !== undefined) {
      if (this.#isAt(known, path)) return known
      this.#directories.delete(path)
    }
    const fd = this.#openAtOnce(path) ?? this.#walk(path)
    this.#directories.set(path, fd)
    return fd
  }

  /** One call for any depth. It follows links on the way, so it counts only if it came out right. */
  #openAtOnce(path: string): number | undefined {
    try {
      const fd = openSync(through(this.#root) + path, DIRECTORY)
      if (this.#isAt(fd, path)) return fd
      closeSync(fd)
      return undefined
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw error
      return undefined
    }
  }

  #isAt(fd: number, path: string): boolean {
    try {
      return readlinkSync(through(fd)) === this.#rootPath + path
    } catch {
      return false // deeper than the kernel can tell
    }
  }

  /** Step by step, and no step follows a link: also when the backing itself was renamed. */
  #walk(path: string): number {
    let at = this.#root
    for (const name of path.split('/').slice(1)) {
      if (name === '' || name === '.' || name === '..') throw new VfsError('EINVAL', 'not a path')
      const from = at
      try {
        at = openSync(`${through(from)}/${name}`, DIRECTORY)
      } finally {
        if (from !== this.#root) closeSync(from)
      }
    }
    return at
  }
}

/** The file that a descriptor stands for, as a path that leads nowhere else. */
export function through(fd: number): string {
  return `/proc/self/fd/${fd}`
}
