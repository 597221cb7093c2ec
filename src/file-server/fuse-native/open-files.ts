import { VfsError } from '../../errors.ts'
import type { Attributes } from './attributes.ts'

export type Awaitable<T> = T | Promise<T>

/** One open description, of whatever kind. */
export interface OpenFile {
  attributes(): Awaitable<Attributes>
  /** Fills `into` from its start; fewer bytes at the end of the file only. */
  read(into: Buffer, offset: number): Awaitable<number>
  write(data: Buffer, offset: number): Awaitable<number>
  /** Each close(2). */
  flush(): Awaitable<void>
  sync(dataOnly: boolean): Awaitable<void>
  truncate(sizeBytes: number): Awaitable<void>
  /** The last close. */
  release(): void
}

/** fuse-native keeps 31 bits of a handle, and takes 0 for none. */
const LAST_HANDLE = 2 ** 31 - 1

export class OpenFiles {
  readonly #files = new Map<number, OpenFile>()
  #last = 0

  get size(): number {
    return this.#files.size
  }

  add(file: OpenFile): number {
    do this.#last = this.#last === LAST_HANDLE ? 1 : this.#last + 1
    while (this.#files.has(this.#last))
    this.#files.set(this.#last, file)
    return this.#last
  }

  get(handle: number): OpenFile {
    const file = this.#files.get(handle)
    if (file === undefined) throw new VfsError('EBADF', 'no such handle')
    return file
  }

  release(handle: number): void {
    const file = this.#files.get(handle)
    this.#files.delete(handle)
    file?.release()
  }

  releaseAll(): void {
    for (const handle of this.#files.keys()) this.release(handle)
  }
}
