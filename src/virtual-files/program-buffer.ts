import { VfsError } from '../errors.ts'
import type { Budget } from './byte-budget.ts'

const NOTHING = new Uint8Array(0)

/** The bytes of one open program: an ordinary file's content, bounded, with holes read as zeros. */
export class ProgramBuffer {
  readonly #maxBytes: number
  readonly #budget: Budget
  /** May be longer than the content; what lies behind the content is zero. */
  #bytes: Uint8Array
  #sizeBytes: number
  /** The bytes belong to somebody else until the first change. */
  #borrowed: boolean

  constructor(maxBytes: number, budget: Budget, content: Uint8Array = NOTHING) {
    budget.take(content.byteLength)
    this.#maxBytes = maxBytes
    this.#budget = budget
    this.#bytes = content
    this.#sizeBytes = content.byteLength
    this.#borrowed = true
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** A copy; short at the end of the content. */
  read(offset: number, sizeBytes: number): Uint8Array {
    return this.#bytes.slice(offset, Math.min(offset + sizeBytes, this.#sizeBytes))
  }

  content(): Uint8Array {
    return this.#bytes.slice(0, this.#sizeBytes)
  }

  /** @throws VfsError EFBIG over the bound, ENOBUFS over the budget; nothing is written then. */
  write(offset: number, data: Uint8Array): void {
    const endBytes = offset + data.byteLength
    this.#own(endBytes, this.#sizeBytes)
    this.#bytes.set(data, offset)
    this.#sizeBytes = Math.max(this.#sizeBytes, endBytes)
  }

  /** @throws VfsError as `write`. */
  truncate(sizeBytes: number): void {
    const keptBytes = Math.min(sizeBytes, this.#sizeBytes)
    this.#own(sizeBytes, keptBytes)
    this.#bytes.fill(0, keptBytes)
    this.#sizeBytes = sizeBytes
  }

  dispose(): void {
    this.#budget.giveBack(this.#bytes.byteLength)
    this.#bytes = NOTHING
    this.#sizeBytes = 0
    this.#borrowed = true
  }

  /** Makes the bytes ours and long enough; of the content the first `keptBytes` are still wanted. */
  #own(neededBytes: number, keptBytes: number): void {
    if (neededBytes > this.#maxBytes)
      throw new VfsError('EFBIG', `a program may have ${this.#maxBytes} bytes, not more`)
    if (!this.#borrowed && neededBytes <= this.#bytes.byteLength) return
    const capacityBytes = Math.min(Math.max(neededBytes * 2, 4_096), this.#maxBytes)
    this.#budget.take(capacityBytes - this.#bytes.byteLength)
    const owned = new Uint8Array(capacityBytes)
    owned.set(this.#bytes.subarray(0, Math.min(keptBytes, capacityBytes)))
    this.#bytes = owned
    this.#borrowed = false
  }
}
