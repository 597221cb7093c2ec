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

export class Grafts {
  readonly #volume: Volume
  readonly #native: NativeFileServer
  /** Trees by graft, to find directories in them. */
  readonly #trees = new Map<number, Volume>()

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
    const tree = await openVolume(backing)
    try {
      const graft = await this.#native.graft(place.tree, place.path, name, backing, options)
      this.#trees.set(graft, tree)
      return graft
    } catch (error) {
      tree.close()
      throw toVfsError(error)
    }
  }

  async keyOf(graft: number, below: string): Promise<DirectoryKey> {
    const tree = this.#trees.get(graft)
    if (tree === undefined) throw new VfsError('ENOENT', `there is no graft ${graft}`)
    return `g:${graft}:${await tree.keyOf(below)}`
  }

  async revoke(graft: number): Promise<void> {
    try {
      await this.#native.revoke(graft)
    } catch (error) {
      throw toVfsError(error)
    } finally {
      this.#forget()
    }
  }

  close(): void {
    for (const tree of this.#trees.values()) tree.close()
    this.#trees.clear()
  }

  /** Those that are gone, by themselves or with one that they stood in. */
  #forget(): void {
    const left = new Set(this.#native.statistics().grafts.map(({ id }) => id))
    for (const [graft, tree] of this.#trees) {
      if (left.has(graft)) continue
      tree.close()
      this.#trees.delete(graft)
    }
  }

  async #find(directory: DirectoryKey): Promise<Place> {
    const [, graft, key] = KEY_IN_GRAFT.exec(directory) ?? []
    // A bare key is the volume's, or else of whichever tree knows it as its own.
    const trees: [number, Volume | undefined][] =
      graft === undefined
        ? [[0, this.#volume], ...this.#trees]
        : [[Number(graft), this.#trees.get(Number(graft))]]
    for (const [tree, volume] of trees) {
      const found = await volume?.pathOf(key ?? directory)
      if (found !== undefined) return { tree, path: found }
    }
    throw new VfsError('ESTALE', 'the directory to graft into is gone')
  }
}
