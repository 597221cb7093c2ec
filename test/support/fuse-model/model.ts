/**
 * A file system in memory, as plainly as POSIX can be said: the reference of differential tests. It is
 * slow, forgets everything, and knows nothing of any protocol. Rights are the kernel's to check.
 *
 * Names and link targets are byte strings in Latin-1.
 */
import { constants } from 'node:fs'
import { VfsError } from '../../../src/errors.ts'

const { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID } = { ...constants, S_ISGID: 0o2000 }
const MAX_NAME_BYTES = 255
const MAX_FILE_BYTES = 64 * 1024 * 1024

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface Node {
  readonly ino: number
  mode: number
  uid: number
  gid: number
  /** Names, and for a directory its own `.` and those `..` that lead to it. */
  nlink: number
  content: Buffer
  readonly children: Map<string, Node>
  parent: Node | undefined
  atimeNs: bigint
  mtimeNs: bigint
  ctimeNs: bigint
  /** Open descriptions: an unlinked file lives as long. */
  opens: number
}

export interface Changes {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly sizeBytes?: number
  readonly atimeNs?: bigint
  readonly mtimeNs?: bigint
}

export class Model {
  readonly root: Node
  readonly #nodes = new Map<number, Node>()
  #last = 0

  constructor() {
    this.root = this.#make(S_IFDIR | 0o755, { uid: 0, gid: 0 })
    this.root.nlink = 2
  }

  /** @throws VfsError ESTALE when nothing refers to it any more. */
  node(ino: number): Node {
    const node = this.#nodes.get(ino)
    if (node === undefined) throw new VfsError('ESTALE', 'gone')
    return node
  }

  lookup(directory: Node, name: string): Node {
    checkName(name)
    const found = children(directory).get(name)
    if (found === undefined) throw new VfsError('ENOENT', name)
    return found
  }

  /** `mode` with its type; `content` is a link's target. */
  create(directory: Node, name: string, mode: number, owner: Owner, content = ''): Node {
    this.#free(directory, name)
    const inherits = (directory.mode & S_ISGID) !== 0
    const isDirectory = (mode & S_IFMT) === S_IFDIR
    const node = this.#make(mode | (inherits && isDirectory ? S_ISGID : 0), {
      uid: owner.uid,
      gid: inherits ? directory.gid : owner.gid,
    })
    node.content = Buffer.from(content, 'latin1')
    node.nlink = isDirectory ? 2 : 1
    this.#enter(directory, name, node)
    return node
  }

  link(node: Node, directory: Node, name: string): void {
    if (isDirectory(node)) throw new VfsError('EPERM', 'a directory has one name')
    if (node.nlink === 0) throw new VfsError('ENOENT', 'unlinked')
    this.#free(directory, name)
    node.nlink += 1
    node.ctimeNs = now()
    this.#enter(directory, name, node)
  }

  unlink(directory: Node, name: string): void {
    const node = this.lookup(directory, name)
    if (isDirectory(node)) throw new VfsError('EISDIR', name)
    this.#leave(directory, name, node)
  }

  rmdir(directory: Node, name: string): void {
    const node = this.lookup(directory, name)
    if (!isDirectory(node)) throw new VfsError('ENOTDIR', name)
    if (node.children.size > 0) throw new VfsError('ENOTEMPTY', name)
    this.#leave(directory, name, node)
  }

  rename(from: Node, oldName: string, to: Node, newName: string): void {
    const node = this.lookup(from, oldName)
    checkName(newName)
    const target = children(to).get(newName)
    if (target === node) return // two names of one file: nothing happens
    if (isDirectory(node)) {
      for (let above: Node | undefined = to; above !== undefined; above = above.parent)
        if (above === node) throw new VfsError('EINVAL', 'into itself')
      if (target !== undefined && !isDirectory(target)) throw new VfsError('ENOTDIR', newName)
    } else if (target !== undefined && isDirectory(target)) throw new VfsError('EISDIR', newName)
    if (target !== undefined) {
      if (target.children.size > 0) throw new VfsError('ENOTEMPTY', newName)
      this.#leave(to, newName, target)
    }
    from.children.delete(oldName)
    if (isDirectory(node)) from.nlink -= 1
    touch(from)
    node.ctimeNs = now()
    this.#enter(to, newName, node)
  }

  set(node: Node, changes: Changes): void {
    const { mode, uid, gid, sizeBytes, atimeNs, mtimeNs } = changes
    if (mode !== undefined) node.mode = (node.mode & S_IFMT) | (mode & ~S_IFMT)
    if (uid !== undefined) node.uid = uid
    if (gid !== undefined) node.gid = gid
    if (sizeBytes !== undefined) {
      resize(node, sizeBytes)
      node.mtimeNs = now()
    }
    if (atimeNs !== undefined) node.atimeNs = atimeNs
    if (mtimeNs !== undefined) node.mtimeNs = mtimeNs
    node.ctimeNs = now()
  }

  read(node: Node, offset: number, sizeBytes: number): Buffer {
    return node.content.subarray(offset, offset + sizeBytes)
  }

  write(node: Node, offset: number, data: Buffer): void {
    if (offset + data.length > node.content.length) resize(node, offset + data.length)
    data.copy(node.content, offset)
    node.mtimeNs = node.ctimeNs = now()
  }

  open(node: Node): void {
    node.opens += 1
  }

  close(node: Node): void {
    node.opens -= 1
    this.#settle(node)
  }

  #make(mode: number, { uid, gid }: Owner): Node {
    const ino = ++this.#last
    const times = { atimeNs: now(), mtimeNs: now(), ctimeNs: now() }
    const [content, children] = [Buffer.alloc(0), new Map<string, Node>()]
    const parent: Node | undefined = undefined
    const node: Node = {
      ino,
      mode,
      uid,
      gid,
      nlink: 0,
      content,
      children,
      parent,
      ...times,
      opens: 0,
    }
    this.#nodes.set(ino, node)
    return node
  }

  #free(directory: Node, name: string): void {
    checkName(name)
    if (children(directory).has(name)) throw new VfsError('EEXIST', name)
    if (directory.nlink === 0) throw new VfsError('ENOENT', 'the directory is gone')
  }

  #enter(directory: Node, name: string, node: Node): void {
    directory.children.set(name, node)
    if (isDirectory(node)) {
      node.parent = directory
      directory.nlink += 1
    }
    touch(directory)
  }

  #leave(directory: Node, name: string, node: Node): void {
    directory.children.delete(name)
    touch(directory)
    node.ctimeNs = now()
    if (isDirectory(node)) {
      node.parent = undefined
      node.nlink = 0
      directory.nlink -= 1
    } else node.nlink -= 1
    this.#settle(node)
  }

  #settle(node: Node): void {
    if (node.nlink === 0 && node.opens === 0) this.#nodes.delete(node.ino)
  }
}

export function isDirectory(node: Node): boolean {
  return (node.mode & S_IFMT) === S_IFDIR
}

export function isLink(node: Node): boolean {
  return (node.mode & S_IFMT) === S_IFLNK
}

export function isFile(node: Node): boolean {
  return (node.mode & S_IFMT) === S_IFREG
}

function children(directory: Node): Map<string, Node> {
  if (!isDirectory(directory)) throw new VfsError('ENOTDIR', 'not a directory')
  return directory.children
}

function checkName(name: string): void {
  if (name.length > MAX_NAME_BYTES) throw new VfsError('ENAMETOOLONG', name)
}

function resize(node: Node, sizeBytes: number): void {
  if (sizeBytes > MAX_FILE_BYTES) throw new VfsError('EFBIG', `over ${MAX_FILE_BYTES} bytes`)
  const content = Buffer.alloc(sizeBytes)
  node.content.copy(content)
  node.content = content
}

function touch(node: Node): void {
  node.mtimeNs = node.ctimeNs = now()
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}
