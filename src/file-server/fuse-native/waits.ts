import { VfsError } from '../../errors.ts'

/**
 * Nobody here can be interrupted, and a waiting look keeps others out of its directory: so no wait is
 * long, and below the 15 s after which fuse-native itself would answer for us.
 */
export const LONGEST_WAIT_MS = 10_000

/** Each holds a thread of libfuse. */
const MAX_WAITING = 64

export class Waits {
  readonly #longestMs: number
  readonly #aborts = new Set<() => void>()

  constructor(longestMs = LONGEST_WAIT_MS) {
    this.#longestMs = longestMs
  }

  get count(): number {
    return this.#aborts.size
  }

  /** What `work` gives, or EAGAIN when that takes too long; the work itself goes on. */
  async bounded<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#aborts.size >= MAX_WAITING)
      throw new VfsError('EAGAIN', `over ${MAX_WAITING} callers wait already`)
    const controller = new AbortController()
    const { promise: gaveUp, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      reject(new VfsError('EAGAIN', `it takes over ${this.#longestMs} ms: look again later`))
    }, this.#longestMs)
    const abort = (): void => {
      reject(new VfsError('ENOTCONN', 'the mount is going away'))
      controller.abort()
    }
    this.#aborts.add(abort)
    const answer = work(controller.signal)
    answer.catch(() => {}) // too late, nobody is left to tell
    try {
      return await Promise.race([answer, gaveUp])
    } finally {
      clearTimeout(timer)
      this.#aborts.delete(abort)
    }
  }

  abortAll(): void {
    for (const abort of this.#aborts) abort()
  }
}
