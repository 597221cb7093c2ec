/** Ordinary files: each operation is the same operation on the backing directory. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchmodSync,
  fdatasync,
  fstatSync,
  fsync,
  ftruncate,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  write,
  type Stats,
  type StatsFs,
} from 'node:fs'
import { isUtf8 } from 'node:buffer'
import { setImmediate as yieldToOthers } from 'node:timers/promises'
import { promisify } from 'node:util'
import { VfsError } from '../../errors.ts'
import { attributesOf, type Attributes } from './attributes.ts'
import { Backing, through } from './backing.ts'
import type { Listed } from './channel.ts'
import type { OpenFile } from './open-files.ts'

const { O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } =
  constants
const { S_IFMT, S_IFREG } = constants

/** So many entries are looked at before others get a turn. */
const ENTRIES_AT_A_TIME = 500

/** What libfuse renames a file to that is removed while it is open, and removes at its last close. */
export const HIDDEN = /\/\.fuse_hidden[0-9a-f]{16}$/

const calls = {
  read: promisify(read),
  write: promisify(write),
  fsync: promisify(fsync),
  fdatasync: promisify(fdatasync),
  ftruncate: promisify(ftruncate),
}

export class OrdinaryFiles {
  readonly #backing: Backing
  readonly #rootDev: number
  /** How many descriptors are open of a file, by its identity. */
  readonly #opened = new Map<string, number>()
  /** Removed while open: nothing is left in the backing directory, the descriptor (O_PATH) is all. */
  readonly #removed = new Map<string, number>()

  constructor(backing: string) {
    this.#backing = new Backing(backing)
    this.#rootDev = lstatSync(this.#backing.at('/')).dev
  }

  get keptDirectories(): number {
    return this.#backing.keptDirectories
  }

  getattr(path: string): Attributes {
    const removed = this.#removed.get(path)
    if (removed !== undefined) return this.#describe(fstatSync(removed))
    const stats = lstatSync(this.#backing.at(path), { throwIfNoEntry: false })
    if (stats === undefined) throw new VfsError('ENOENT', 'no such entry')
    return this.#describe(stats)
  }

  exists(path: string): boolean {
    try {
      return lstatSync(this.#backing.at(path), { throwIfNoEntry: false }) !== undefined
    } catch {
      return false
    }
  }

  async readdir(path: string): Promise<Listed[]> {
    const fd = openSync(this.#backing.at(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    try {
      const at = through(fd)
      const own = this.#describe(fstatSync(fd))
      const listed: Listed[] = [
        { name: '.', attributes: own },
        { name: '..', attributes: own },
      ]
      for (const [index, bytes] of readdirSync(at, 'buffer').entries()) {
        if (index % ENTRIES_AT_A_TIME === ENTRIES_AT_A_TIME - 1) await yieldToOthers()
        if (!isUtf8(bytes)) continue
        const name = bytes.toString()
        const stats = lstatSync(`${at}/${name}`, { throwIfNoEntry: false })
        if (stats !== undefined) listed.push({ name, attributes: this.#describe(stats) })
      }
      return listed
    } finally {
      closeSync(fd)
    }
  }

  readlink(path: string): string {
    const target = readlinkSync(this.#backing.at(path), 'buffer')
    if (!isUtf8(target)) throw new VfsError('EILSEQ', 'fuse-native serves links in UTF-8 only')
    return target.toString()
  }

  statfs(): StatsFs {
    return statfsSync(this.#backing.at('/'))
  }

  mkdir(path: string, mode: number): void {
    const at = this.#backing.at(path)
    mkdirSync(at, mode)
    if ((mode & process.umask()) !== 0) this.#withEntry(path, (entry) => chmodSync(entry, mode))
  }

  /** Node makes regular files only; the kernel says EPERM where a kind is not supported. */
  mknod(path: string, mode: number): void {
    if ((mode & S_IFMT) !== S_IFREG)
      throw new VfsError('EPERM', 'fuse-native makes regular files only')
    closeSync(this.#make(path, mode))
  }

  symlink(target: string, path: string): void {
    if (target.includes('\ufffd'))
      throw new VfsError('EILSEQ', 'fuse-native serves links in UTF-8 only')
    symlinkSync(target, this.#backing.at(path))
  }

  link(from: string, to: string): void {
    linkSync(this.#backing.at(from), this.#backing.at(to))
  }

  unlink(path: string): void {
    const removed = this.#removed.get(path)
    if (removed === undefined) return unlinkSync(this.#backing.at(path))
    this.#removed.delete(path)
    closeSync(removed)
  }

  rmdir(path: string): void {
    rmdirSync(this.#backing.at(path))
  }

  rename(from: string, to: string): void {
    if (HIDDEN.test(to) && this.#hide(from, to)) return
    renameSync(this.#backing.at(from), this.#backing.at(to))
  }

  chmod(path: string, mode: number): void {
    this.#withEntry(path, (entry) => chmodSync(entry, mode))
  }

  chown(path: string, uid: number, gid: number): void {
    if (this.#removed.has(path)) this.#withEntry(path, (entry) => chownSync(entry, uid, gid))
    else lchownSync(this.#backing.at(path), uid, gid)
  }

  utimens(path: string, atimeMs: number, mtimeMs: number): void {
    const [atime, mtime] = [seconds(atimeMs), seconds(mtimeMs)]
    if (this.#removed.has(path)) this.#withEntry(path, (entry) => utimesSync(entry, atime, mtime))
    else lutimesSync(this.#backing.at(path), atime, mtime)
  }

  truncate(path: string, sizeBytes: number): void {
    this.#withEntry(path, (entry) => truncateSync(entry, sizeBytes))
  }

  open(path: string, flags: number): OpenFile {
    const removed = this.#removed.get(path)
    // Direct I/O is between the caller and the kernel. Whatever took the file's place meanwhile: no wait.
    const wanted = (flags & ~O_DIRECT) | O_NONBLOCK
    if (removed !== undefined) return this.#opening(openSync(through(removed), wanted))
    return this.#opening(openSync(this.#backing.at(path), wanted | O_NOFOLLOW))
  }

  /** Read-only, without waiting for the other end of a pipe; the caller closes it. */
  openToRead(path: string): { readonly fd: number; readonly stats: Stats } {
    const fd = openSync(this.#backing.at(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    return { fd, stats: fstatSync(fd) }
  }

  create(path: string, mode: number): OpenFile {
    return this.#opening(this.#make(path, mode))
  }

  /** The binding keeps the flags of a creation to itself: it may be for reading and for writing. */
  #make(path: string, mode: number): number {
    let fd: number
    try {
      const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
      fd = openSync(this.#backing.at(path), flags, mode & 0o7777)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      // The kernel saw none a moment ago, and we do not know whether it minds: it shall look again.
      throw new VfsError('ESTALE', 'it came into being meanwhile', { cause: error })
    }
    if ((mode & process.umask()) !== 0) fchmodSync(fd, mode & 0o7777)
    return fd
  }

  #opening(fd: number): OpenFile {
    const stats = fstatSync(fd)
    if (!stats.isFile()) {
      closeSync(fd)
      throw new VfsError('ESTALE', 'something else took its place')
    }
    const identity = identityOf(stats)
    this.#opened.set(identity, (this.#opened.get(identity) ?? 0) + 1)
    return new BackingFile(
      fd,
      (stats) => this.#describe(stats),
      () => {
        const left = (this.#opened.get(identity) ?? 1) - 1
        if (left === 0) this.#opened.delete(identity)
        else this.#opened.set(identity, left)
      },
    )
  }

  /** False: nobody has it open here, so this rename is not libfuse's but somebody's own. */
  #hide(from: string, to: string): boolean {
    const fd = this.#backing.open(from)
    try {
      if (this.#opened.has(identityOf(fstatSync(fd)))) {
        unlinkSync(this.#backing.at(from))
        this.#removed.set(to, fd)
        return true
      }
    } catch (error) {
      closeSync(fd)
      throw error
    }
    closeSync(fd)
    return false
  }

  /** Calls that follow links: through a descriptor of the entry itself. */
  #withEntry(path: string, work: (entry: string) => void): void {
    const removed = this.#removed.get(path)
    const fd = removed ?? this.#backing.open(path)
    try {
      work(through(fd))
    } finally {
      if (removed === undefined) closeSync(fd)
    }
  }

  #describe(stats: Stats): Attributes {
    return attributesOf(stats, this.#rootDev)
  }

  close(): void {
    for (const fd of this.#removed.values()) closeSync(fd)
    this.#removed.clear()
    this.#backing.close()
  }
}

/** Data goes through Node's pool of threads, so that a slow disk keeps nobody else waiting. */
class BackingFile implements OpenFile {
  readonly #fd: number
  readonly #describe: (stats: Stats) => Attributes
  readonly #onRelease: () => void

  constructor(fd: number, describe: (stats: Stats) => Attributes, onRelease: () => void) {
    this.#fd = fd
    this.#describe = describe
    this.#onRelease = onRelease
  }

  attributes(): Attributes {
    return this.#describe(fstatSync(this.#fd))
  }

  /** Short reads before the end would be taken for it. */
  async read(into: Buffer, offset: number): Promise<number> {
    let size = 0
    while (size < into.byteLength) {
      const rest = into.byteLength - size
      const { bytesRead } = await calls.read(this.#fd, into, size, rest, offset + size)
      if (bytesRead === 0) break
      size += bytesRead
    }
    return size
  }

  async write(data: Buffer, offset: number): Promise<number> {
    const { bytesWritten } = await calls.write(this.#fd, data, 0, data.byteLength, offset)
    return bytesWritten
  }

  flush(): void {}

  async sync(dataOnly: boolean): Promise<void> {
    await (dataOnly ? calls.fdatasync(this.#fd) : calls.fsync(this.#fd))
  }

  async truncate(sizeBytes: number): Promise<void> {
    await calls.ftruncate(this.#fd, sizeBytes)
  }

  release(): void {
    closeSync(this.#fd)
    this.#onRelease()
  }
}

function identityOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`
}

/** Whole milliseconds come out as such: as a double of seconds they may fall just short. What is before
 * 1970 Node takes for now, but not as a date. */
function seconds(ms: number): number | Date {
  if (ms < 0) return new Date(ms)
  return ms % 1000 === 0 ? ms / 1000 : ms / 1000 + 2e-7
}
