import { constants } from 'node:fs'
import { VfsError } from '../errors.ts'
import type { Budget } from './byte-budget.ts'

/** `flags` as in open(2). */
export function opensForWriting(flags: number): boolean {
  return (flags & (constants.O_WRONLY | constants.O_RDWR)) !== 0
}

/** One open description of a virtual file. What a kind of file does not do stays as it is here. */
export abstract class OpenFile {
  /** No offsets: read and write have cursors of their own. */
  readonly stream: boolean = false

  /** Short at the end of the file. `signal`: the reader gave up. */
  async read(
    _offset: number,
    _sizeBytes: number,
    _nonBlocking: boolean,
    _signal: AbortSignal,
  ): Promise<Uint8Array> {
    throw new VfsError('EBADF', 'not open for reading')
  }

  /** All of `data` or a refusal. `data` belongs to the caller. */
  async write(_offset: number, _data: Uint8Array, _append: boolean): Promise<void> {
    throw new VfsError('EBADF', 'not open for writing')
  }

  truncate(_sizeBytes: number): void {}

  /** A close(2); there may be more, and writes in between. */
  async flush(): Promise<void> {}

  poll(_forReading: boolean): { readable: boolean; writable: boolean } {
    return { readable: true, writable: true }
  }

  /** The last close. */
  abstract release(): void
}

/** Content as it was when it was opened, whatever happens to the file since. */
export class SnapshotFile extends OpenFile {
  readonly #content: Uint8Array
  readonly #budget: Budget

  constructor(content: Uint8Array, budget: Budget) {
    super()
    budget.take(content.byteLength)
    this.#content = content
    this.#budget = budget
  }

  override async read(offset: number, sizeBytes: number): Promise<Uint8Array> {
    return this.#content.subarray(offset, offset + sizeBytes)
  }

  override release(): void {
    this.#budget.giveBack(this.#content.byteLength)
  }
}

/** Open files by handle; a number is used once. */
export class HandleTable {
  readonly #maxHandles: number
  readonly #maxUserHandles: number
  readonly #files = new Map<number, { readonly file: OpenFile; readonly uid: number }>()
  /** By uid, with the opens that still wait: their number is not bounded by anything else. */
  readonly #counts = new Map<number, number>()
  #count = 0
  #last = 0

  constructor(maxHandles: number, maxUserHandles: number) {
    this.#maxHandles = maxHandles
    this.#maxUserHandles = maxUserHandles
  }

  /** @throws VfsError ENFILE over a bound, or what `open` throws. */
  async add(uid: number, open: (handle: number) => Promise<OpenFile>): Promise<[number, OpenFile]> {
    if (this.#count >= this.#maxHandles)
      throw new VfsError('ENFILE', `over ${this.#maxHandles} virtual files are open: close some`)
    if ((this.#counts.get(uid) ?? 0) >= this.#maxUserHandles)
      throw new VfsError(
        'ENFILE',
        `uid ${uid} has over ${this.#maxUserHandles} virtual files open: close some`,
      )
    const handle = ++this.#last
    this.#add(uid, 1)
    try {
      const file = await open(handle)
      this.#files.set(handle, { file, uid })
      return [handle, file]
    } catch (error) {
      this.#add(uid, -1)
      throw error
    }
  }

  #add(uid: number, change: number): void {
    this.#count += change
    const count = (this.#counts.get(uid) ?? 0) + change
    if (count === 0) this.#counts.delete(uid)
    else this.#counts.set(uid, count)
  }

  get(handle: number): OpenFile {
    const file = this.#files.get(handle)?.file
    if (file === undefined) throw new VfsError('EBADF', `no open virtual file ${handle}`)
    return file
  }

  release(handle: number): void {
    const open = this.#files.get(handle)
    if (open === undefined) return
    this.#files.delete(handle)
    this.#add(open.uid, -1)
    open.file.release()
  }

  releaseAll(): void {
    for (const handle of this.#files.keys()) this.release(handle)
  }
}
