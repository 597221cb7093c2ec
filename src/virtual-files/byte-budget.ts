import { VfsError } from '../errors.ts'

/** What one open file draws on. */
export interface Budget {
  /** @throws VfsError ENOBUFS when the open files would hold too much. */
  take(sizeBytes: number): void
  giveBack(sizeBytes: number): void
}

/** Bounds the bytes that all open virtual files of a mount hold together, and those of each user. */
export class ByteBudget {
  readonly #maxBytes: number
  readonly #maxUserBytes: number
  readonly #heldBy = new Map<number, number>()
  #heldBytes = 0

  constructor(maxBytes: number, maxUserBytes: number) {
    this.#maxBytes = maxBytes
    this.#maxUserBytes = maxUserBytes
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  of(uid: number): Budget {
    return {
      take: (sizeBytes) => this.#take(uid, sizeBytes),
      giveBack: (sizeBytes) => this.#hold(uid, -sizeBytes),
    }
  }

  #take(uid: number, sizeBytes: number): void {
    const ofUser = (this.#heldBy.get(uid) ?? 0) + sizeBytes
    const [held, maxBytes, whose] =
      ofUser > this.#maxUserBytes
        ? [ofUser, this.#maxUserBytes, `open virtual files of uid ${uid}`]
        : [this.#heldBytes + sizeBytes, this.#maxBytes, 'open virtual files']
    if (sizeBytes > 0 && held > maxBytes)
      throw new VfsError(
        'ENOBUFS',
        `${whose} hold over ${maxBytes} bytes: close some, or read their answers`,
      )
    this.#hold(uid, sizeBytes)
  }

  #hold(uid: number, sizeBytes: number): void {
    this.#heldBytes += sizeBytes
    const ofUser = (this.#heldBy.get(uid) ?? 0) + sizeBytes
    if (ofUser === 0) this.#heldBy.delete(uid)
    else this.#heldBy.set(uid, ofUser)
  }
}
