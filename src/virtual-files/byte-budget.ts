import { VfsError } from '../errors.ts'

/** Bounds the bytes that all open virtual files of a mount hold together. */
export class ByteBudget {
  readonly #maxBytes: number
  #heldBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** @throws VfsError ENOBUFS when the open files would hold too much. */
  take(sizeBytes: number): void {
    if (this.#heldBytes + sizeBytes > this.#maxBytes)
      throw new VfsError(
        'ENOBUFS',
        `open virtual files hold over ${this.#maxBytes} bytes: close some, or read their answers`,
      )
    this.#heldBytes += sizeBytes
  }

  giveBack(sizeBytes: number): void {
    this.#heldBytes -= sizeBytes
  }
}
