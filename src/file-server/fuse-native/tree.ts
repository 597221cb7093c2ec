/** What the mount shows: each operation goes to the ordinary or to the virtual files. */
import { closeSync, type StatsFs } from 'node:fs'
import { VfsError } from '../../errors.ts'
import type { Attributes } from './attributes.ts'
import type { Listed, Operations } from './channel.ts'
import type { Awaitable, OpenFiles } from './open-files.ts'
import { HIDDEN, type OrdinaryFiles } from './ordinary.ts'
import type { VirtualTree } from './virtual-tree.ts'
import { XATTR_PREFIX } from './places.ts'

export interface TreeOptions {
  readonly ordinary: OrdinaryFiles
  readonly virtual: VirtualTree
  readonly files: OpenFiles
  readonly listReserved: boolean
}

export class Tree implements Operations {
  readonly #ordinary: OrdinaryFiles
  readonly #virtual: VirtualTree
  readonly #files: OpenFiles
  readonly #listReserved: boolean
  /** A virtual file that was removed while open, by the name that libfuse gave it since. */
  readonly #removed = new Map<string, Attributes>()

  constructor({ ordinary, virtual, files, listReserved }: TreeOptions) {
    this.#ordinary = ordinary
    this.#virtual = virtual
    this.#files = files
    this.#listReserved = listReserved
  }

  getattr(path: string): Awaitable<Attributes> {
    const place = this.#virtual.placeOf(path)
    if (place !== undefined) return this.#virtual.getattr(place)
    return this.#removed.get(path) ?? this.#ordinary.getattr(path)
  }

  fgetattr(handle: number): Awaitable<Attributes> {
    return this.#files.get(handle).attributes()
  }

  async readdir(path: string): Promise<readonly Listed[]> {
    const place = this.#virtual.placeOf(path)
    if (place !== undefined) return await this.#virtual.readdir(place)
    const listed = await this.#ordinary.readdir(path)
    if (this.#listReserved) listed.push(...(await this.#virtual.reservedIn(path)))
    return listed
  }

  readlink(path: string): string {
    if (this.#virtual.placeOf(path) !== undefined) throw new VfsError('EINVAL', 'not a link')
    return this.#ordinary.readlink(path)
  }

  statfs(): StatsFs {
    return this.#ordinary.statfs()
  }

  mkdir(path: string, mode: number): Awaitable<void> {
    return this.#make(path, () => this.#ordinary.mkdir(path, mode))
  }

  async mknod(path: string, mode: number): Promise<void> {
    const place = this.#virtual.placeOf(path)
    if (place === undefined) this.#ordinary.mknod(path, mode)
    else (await this.#virtual.create(place)).release()
  }

  symlink(target: string, path: string): Awaitable<void> {
    return this.#make(path, () => this.#ordinary.symlink(target, path))
  }

  link(from: string, to: string): Awaitable<void> {
    if (this.#virtual.placeOf(from) !== undefined)
      throw new VfsError('EPERM', 'a virtual file has one name')
    return this.#make(to, () => this.#ordinary.link(from, to))
  }

  unlink(path: string): Awaitable<void> {
    const place = this.#virtual.placeOf(path)
    if (place !== undefined) return this.#virtual.unlink(place)
    if (!this.#removed.delete(path)) this.#ordinary.unlink(path)
  }

  async rmdir(path: string): Promise<void> {
    const place = this.#virtual.placeOf(path)
    if (place !== undefined) return await this.#virtual.rmdir(place)
    const removed = await this.#virtual.removing(path)
    this.#ordinary.rmdir(path)
    removed()
  }

  async rename(from: string, to: string): Promise<void> {
    const [source, target] = [this.#virtual.placeOf(from), this.#virtual.placeOf(to)]
    if (source !== undefined) {
      if (source.kind !== 'compute' || !HIDDEN.test(to))
        return await this.#virtual.renameFrom(source)
      const attributes = await this.#virtual.getattr(source)
      await this.#virtual.unlink(source)
      this.#removed.set(to, attributes)
    } else if (target !== undefined) {
      const { fd, stats } = this.#ordinary.openToRead(from)
      try {
        if (!stats.isFile()) throw new VfsError('EPERM', 'a program is a regular file')
        await this.#virtual.renameOnto(target, from, { fd, sizeBytes: stats.size })
      } finally {
        closeSync(fd)
      }
    } else this.#ordinary.rename(from, to)
  }

  chmod(path: string, mode: number): Awaitable<void> {
    return this.#set(path, () => this.#ordinary.chmod(path, mode))
  }

  chown(path: string, uid: number, gid: number): Awaitable<void> {
    return this.#set(path, () => this.#ordinary.chown(path, uid, gid))
  }

  utimens(path: string, atimeMs: number, mtimeMs: number): Awaitable<void> {
    return this.#set(path, () => this.#ordinary.utimens(path, atimeMs, mtimeMs))
  }

  truncate(path: string, sizeBytes: number): Awaitable<void> {
    const place = this.#virtual.placeOf(path)
    if (place !== undefined) return this.#virtual.truncate(place, sizeBytes)
    this.#ordinary.truncate(path, sizeBytes)
  }

  async open(path: string, flags: number): Promise<number> {
    const place = this.#virtual.placeOf(path)
    const file =
      place === undefined
        ? this.#ordinary.open(path, flags)
        : await this.#virtual.open(place, flags)
    return this.#files.add(file)
  }

  async create(path: string, mode: number): Promise<number> {
    const place = this.#virtual.placeOf(path)
    const file =
      place === undefined ? this.#ordinary.create(path, mode) : await this.#virtual.create(place)
    return this.#files.add(file)
  }

  read(handle: number, into: Buffer, offset: number): Awaitable<number> {
    return this.#files.get(handle).read(into, offset)
  }

  write(handle: number, data: Buffer, offset: number): Awaitable<number> {
    return this.#files.get(handle).write(data, offset)
  }

  flush(handle: number): Awaitable<void> {
    return this.#files.get(handle).flush()
  }

  fsync(handle: number, dataOnly: boolean): Awaitable<void> {
    return this.#files.get(handle).sync(dataOnly)
  }

  ftruncate(handle: number, sizeBytes: number): Awaitable<void> {
    return this.#files.get(handle).truncate(sizeBytes)
  }

  release(handle: number): void {
    this.#files.release(handle)
  }

  /** Node has no call for those of ordinary files. */
  async getxattr(path: string, name: string): Promise<Buffer> {
    const place = this.#virtual.placeOf(path)
    if (place === undefined && !name.startsWith('security.'))
      throw new VfsError('ENOTSUP', 'fuse-native serves no extended attributes of ordinary files')
    const value =
      place === undefined || !name.startsWith(XATTR_PREFIX)
        ? undefined
        : (await this.#virtual.xattrs(place)).get(name)
    if (value === undefined) throw new VfsError('ENODATA', 'no such attribute')
    return Buffer.from(value)
  }

  async listxattr(path: string): Promise<Buffer> {
    const place = this.#virtual.placeOf(path)
    if (place === undefined) return Buffer.alloc(0)
    const names = [...(await this.#virtual.xattrs(place)).keys()]
    return Buffer.from(names.map((name) => `${name}\0`).join(''))
  }

  #make(path: string, make: () => void): Awaitable<void> {
    const place = this.#virtual.placeOf(path)
    return place === undefined ? make() : this.#virtual.refuseToMake(place)
  }

  #set(path: string, set: () => void): Awaitable<void> {
    const place = this.#virtual.placeOf(path)
    if (place !== undefined) return this.#virtual.setattr(place)
    if (!this.#removed.has(path)) set()
  }
}
