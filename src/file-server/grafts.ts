/** The grafts of one mount, by keys: which tree a directory is in, and where. */
import path from 'node:path'

import type { NativeFileServer } from '../addon/file-server.ts'
import { VfsError } from '../errors.ts'
import { toVfsError } from './native-error.ts'
import type { DirectoryKey, GraftOptions, Volume } from './types.ts'
import { openVolume } from './volume.ts'

/** Directories have a key in their own tree; this says which graft that is. */
const KEY_IN_GRAFT = /^g:(\d+):(.+)$/

interface Place {
  /** 0: the volume. */
  readonly tree: number
  readonly path: string
}

interface Tree {
  readonly backing: string
  /** Opened when a key in it is asked for, since it holds the tree busy. */
  volume: Promise<Volume> | undefined
}

export class Grafts {
  readonly #volume: Volume
  readonly #native: NativeFileServer
  readonly #trees = new Map<number, Tree>()

  constructor(volume: Volume, native: NativeFileServer) {
    this.#volume = volume
    this.#native = native
  }

  async graft(
    directory: DirectoryKey,
    name: string,
    backing: string,
    options: GraftOptions,
  ): Promise<number> {
    if (!path.isAbsolute(backing))
      throw new VfsError('EINVAL', `the backing of a graft is an absolute path, not ${backing}`)
    const { quotaBytes } = options
    if (quotaBytes !== undefined && !(Number.isSafeInteger(quotaBytes) && quotaBytes >= 0))
      throw new VfsError('EINVAL', `a quota is a number of bytes, not ${quotaBytes}`)
    const place = await this.#find(directory)
    try {
      const graft = await this.#native.graft(place.tree, place.path, name, backing, options)
      this.#trees.set(graft, { backing, volume: undefined })
      return graft
    } catch (error) {
      throw toVfsError(error)
    }
  }

  async keyOf(graft: number, below: string): Promise<DirectoryKey> {
    const volume = await this.#open(graft)
    if (volume === undefined) throw new VfsError('ENOENT', `there is no graft ${graft}`)
    return `g:${graft}:${await volume.keyOf(below)}`
  }

  async revoke(graft: number): Promise<void> {
    try {
      await this.#native.revoke(graft)
    } catch (error) {
      throw toVfsError(error)
    } finally {
      // Those that stood in it went as well.
      const left = new Set(this.#native.statistics().grafts.map(({ id }) => id))
      await Promise.all(
        [...this.#trees].filter(([id]) => !left.has(id)).map(([id]) => this.#close(id)),
      )
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#trees.keys()].map((graft) => this.#close(graft)))
  }

  #open(graft: number): Promise<Volume> | undefined {
    const tree = this.#trees.get(graft)
    if (tree !== undefined) tree.volume ??= openVolume(tree.backing)
    return tree?.volume
  }

  async #close(graft: number): Promise<void> {
    const volume = this.#trees.get(graft)?.volume
    this.#trees.delete(graft)
    const opened = await volume?.catch(() => undefined)
    opened?.close()
  }

  async #find(directory: DirectoryKey): Promise<Place> {
    const [, graft, key] = KEY_IN_GRAFT.exec(directory) ?? []
    if (graft === undefined) {
      const found = await this.#volume.pathOf(directory)
      if (found !== undefined) return { tree: 0, path: found }
    }
    // A bare key may be that of a volume that somebody opened on a graft's backing.
    for (const tree of graft === undefined ? this.#trees.keys() : [Number(graft)]) {
      const found = await (await this.#open(tree))?.pathOf(key ?? directory)
      if (found !== undefined) return { tree, path: found }
    }
    throw new VfsError('ESTALE', 'the directory to graft into is gone')
  }
}
