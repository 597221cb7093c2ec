/** The grafts of one mount, by keys: which tree a directory is in, and where. */
import { hash } from 'node:crypto'
import path from 'node:path'

import type { NativeFileServer } from '../addon/file-server.ts'
import { VfsError } from '../errors.ts'
import { toVfsError } from './native-error.ts'
import type {
  DirectoryKey,
  GraftOptions,
  GraftStatistics,
  Principal,
  TreeWatcher,
  Volume,
} from './types.ts'
import { openVolume, volumeOver } from './volume.ts'

/** Directories have a key in their own tree; what stands before it says which tree that is. */
const KEY_IN_GRAFT = /^(g:[^:]*:[^:]*:)(.+)$/s
/** Only the keys of directories with programs hold one. */
const NO_PROGRAMS = 'none'
const IDENTITY = /^[A-Za-z0-9._-]{1,128}$/

/** The identity; VfsError for options that cannot be. */
function checked(tree: string, backing: string, options: GraftOptions): string {
  if (!path.isAbsolute(backing))
    throw new VfsError('EINVAL', `the backing of a graft is an absolute path, not ${backing}`)
  const { quotaBytes } = options
  if (quotaBytes !== undefined && !(Number.isSafeInteger(quotaBytes) && quotaBytes >= 0))
    throw new VfsError('EINVAL', `a quota is a number of bytes, not ${quotaBytes}`)
  const identity = options.identity ?? (options.compute ? identityOf(tree) : NO_PROGRAMS)
  if (!IDENTITY.test(identity))
    throw new VfsError('EINVAL', `no identity that a graft can have: ${JSON.stringify(identity)}`)
  return identity
}

function identityOf(tree: string): string {
  return hash('sha256', tree, 'hex').slice(0, 32)
}

interface Place {
  /** 0: the volume. */
  readonly tree: number
  readonly path: string
}

interface Tree {
  readonly id: number
  readonly backing: string
  /** Of its root, in the mount: it cannot be renamed while the graft stands. */
  readonly point: string
  readonly prefix: string
  /** Where programs read; undefined: it has none. */
  readonly programs: Volume | undefined
  /** Of one without programs: opened when a key in it is asked for, since it holds the tree busy. */
  opened: Promise<Volume> | undefined
  /** On its way out: its keys are of nothing any more. */
  leaving: boolean
}

/** A directory in a graft that has programs. */
export interface InGraft {
  readonly volume: Volume
  readonly prefix: string
  /** In that volume. */
  readonly key: DirectoryKey
}

export class Grafts {
  readonly #volume: Volume
  readonly #native: NativeFileServer
  readonly #trees = new Map<number, Tree>()
  readonly #byPrefix = new Map<string, Tree>()
  readonly #byPoint = new Map<string, Tree>()
  #watcher: TreeWatcher | undefined

  constructor(volume: Volume, native: NativeFileServer) {
    this.#volume = volume
    this.#native = native
  }

  watch(watcher: TreeWatcher): void {
    this.#watcher = watcher
  }

  async graft(
    directory: DirectoryKey,
    name: string,
    backing: string,
    options: GraftOptions,
  ): Promise<number> {
    const identity = checked(backing, backing, options)
    const place = await this.#find(directory)
    return await this.#take(backing, () =>
      this.#native.graft(place.tree, place.path, name, backing, { ...options, identity }),
    )
  }

  async graftAt(
    at: string,
    backing: string,
    subpath: string,
    options: GraftOptions,
  ): Promise<number> {
    const tree = path.join(backing, subpath)
    const identity = checked(tree, backing, options)
    return await this.#take(
      tree,
      () => this.#native.graftAt(at, backing, subpath, { ...options, identity }),
      at,
    )
  }

  async #take(backing: string, make: () => Promise<number>, at?: string): Promise<number> {
    let id: number
    try {
      id = await make()
    } catch (error) {
      throw toVfsError(error)
    }
    const programs = this.#native.graftPrograms(id)
    const tree: Tree = {
      id,
      backing,
      point: at ?? this.#pointOf(id),
      prefix: programs?.prefix ?? `g:#${id}::`,
      programs: programs && volumeOver(programs.volume, backing),
      opened: undefined,
      leaving: false,
    }
    this.#trees.set(id, tree)
    this.#byPrefix.set(tree.prefix, tree)
    this.#byPoint.set(tree.point, tree)
    if (programs !== undefined) await this.#watcher?.arrived(memberOf(tree))
    return id
  }

  async keyOf(graft: number, below: string, principal?: Principal): Promise<DirectoryKey> {
    const tree = this.#trees.get(graft)
    if (tree === undefined) throw new VfsError('ENOENT', `there is no graft ${graft}`)
    return tree.prefix + (await (await volumeIn(tree)).keyOf(below, principal))
  }

  within(graft: number): readonly GraftStatistics[] {
    return this.#native.graftsWithin(graft)
  }

  async revoke(graft: number): Promise<void> {
    const going = this.#native.graftsWithin(graft)
    // One that can be revoked goes for certain, so its runs end while the kernel forgets it.
    const certain = going.every(({ revocable }) => revocable)
    const trees = going.flatMap(({ id }) => this.#trees.get(id) ?? [])
    const left = certain ? trees.map((tree) => this.#leave(tree)) : []
    try {
      await this.#native.revoke(graft)
    } catch (error) {
      throw toVfsError(error)
    } finally {
      await Promise.all(left)
      const standing = new Set(this.#native.graftsWithin(graft).map(({ id }) => id))
      await Promise.all(
        trees.map((tree) => (standing.has(tree.id) ? this.#stay(tree) : this.#drop(tree))),
      )
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#trees.values()].map(closeVolume))
    this.#trees.clear()
    this.#byPrefix.clear()
    this.#byPoint.clear()
  }

  /** Undefined: it is in the volume. */
  find(key: DirectoryKey): InGraft | undefined {
    const [, prefix, rest] = KEY_IN_GRAFT.exec(key) ?? []
    if (prefix === undefined || rest === undefined) return undefined
    const tree = this.#byPrefix.get(prefix)
    if (tree !== undefined && tree.programs === undefined)
      throw new VfsError('ENOTSUP', 'programs do not run in what was granted without them')
    if (tree?.programs !== undefined && !tree.leaving)
      return { volume: tree.programs, prefix, key: rest }
    throw new VfsError('ESTALE', 'the directory is in a graft that is not there')
  }

  /** Of what is at `place` in the mount; undefined: it is in the volume. With a principal, who has to
   * be allowed to search the trees around it as well. */
  async keyAt(place: string, principal?: Principal): Promise<DirectoryKey | undefined> {
    const tree = this.#treeAt(place)
    if (tree === undefined) return undefined
    if (principal !== undefined) await this.#search(parentOf(tree.point), principal)
    return await this.keyOf(tree.id, place.slice(tree.point.length + 1), principal)
  }

  /** EACCES unless the principal may look a name up in that directory, and come to it. */
  async #search(place: string, principal: Principal): Promise<void> {
    const around = this.#treeAt(place)
    if (around !== undefined) await this.#search(parentOf(around.point), principal)
    const volume = around === undefined ? this.#volume : await volumeIn(around)
    const below = around === undefined ? place : place.slice(around.point.length + 1)
    // Looking up "." in it is a search of it.
    await volume.keyOf(below === '' ? '.' : `${below}/.`, principal)
  }

  /** The innermost that stands at `place` or above it. */
  #treeAt(place: string): Tree | undefined {
    for (let point = place; point !== ''; point = parentOf(point)) {
      const tree = this.#byPoint.get(point)
      if (tree !== undefined) return tree
    }
    return undefined
  }

  /** Of the tree's root, in the mount. */
  pointOf(prefix: string): string {
    return this.#byPrefix.get(prefix)?.point ?? ''
  }

  async #leave(tree: Tree): Promise<void> {
    if (tree.leaving) return
    tree.leaving = true
    if (tree.programs === undefined) return
    const why = new VfsError('ESTALE', 'the tree was taken out of the mount')
    await this.#watcher?.leaving(memberOf(tree), why)
  }

  /** It was to go and did not. */
  async #stay(tree: Tree): Promise<void> {
    if (!tree.leaving) return
    tree.leaving = false
    if (tree.programs !== undefined) await this.#watcher?.arrived(memberOf(tree))
  }

  async #drop(tree: Tree): Promise<void> {
    this.#trees.delete(tree.id)
    // A younger one may have taken its place.
    if (this.#byPrefix.get(tree.prefix) === tree) this.#byPrefix.delete(tree.prefix)
    if (this.#byPoint.get(tree.point) === tree) this.#byPoint.delete(tree.point)
    await this.#leave(tree)
    await closeVolume(tree)
  }

  #pointOf(id: number): string {
    const [graft] = this.#native.graftsWithin(id)
    if (graft === undefined) return ''
    const around = this.#trees.get(graft.within)
    return around === undefined ? graft.path : `${around.point}/${graft.path}`
  }

  async #find(directory: DirectoryKey): Promise<Place> {
    const [, prefix, key] = KEY_IN_GRAFT.exec(directory) ?? []
    if (prefix === undefined) {
      const found = await this.#volume.pathOf(directory)
      if (found !== undefined) return { tree: 0, path: found }
    }
    // A bare key may be that of a volume that somebody opened on a graft's backing.
    for (const tree of this.#trees.values()) {
      if (prefix !== undefined && prefix !== tree.prefix) continue
      const found = await (await volumeIn(tree)).pathOf(key ?? directory)
      if (found !== undefined) return { tree: tree.id, path: found }
    }
    throw new VfsError('ESTALE', 'the directory to graft into is gone')
  }
}

function parentOf(place: string): string {
  return place.slice(0, Math.max(0, place.lastIndexOf('/')))
}

function memberOf({ prefix }: Tree): (key: DirectoryKey) => boolean {
  return (key) => key.startsWith(prefix)
}

function volumeIn(tree: Tree): Promise<Volume> {
  if (tree.programs !== undefined) return Promise.resolve(tree.programs)
  tree.opened ??= openVolume(tree.backing)
  return tree.opened
}

async function closeVolume(tree: Tree): Promise<void> {
  tree.programs?.close()
  const opened = await tree.opened?.catch(() => undefined)
  opened?.close()
}
