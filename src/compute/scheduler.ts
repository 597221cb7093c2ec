import { runError } from './run-error.ts'

/** A place in the queue, then a run; `leave` gives back either, once. */
export interface Ticket {
  /** Resolves when the run may start, and also when the ticket left before its turn. */
  readonly entered: Promise<void>
  /** Somebody waits for this run now: it goes before those that nobody waits for. */
  promote(): void
  leave(): void
}

interface Waiting {
  readonly enter: () => void
}

/** Bounds the runs of one tenant: so many at once, so many in line; those with a reader first. */
export class Scheduler {
  readonly #concurrent: number
  readonly #queued: number
  /** In order of arrival. */
  readonly #urgent = new Set<Waiting>()
  readonly #patient = new Set<Waiting>()
  #running = 0

  constructor(bounds: { concurrentRuns: number; queuedRuns: number }) {
    this.#concurrent = bounds.concurrentRuns
    this.#queued = bounds.queuedRuns
  }

  get running(): number {
    return this.#running
  }

  get queued(): number {
    return this.#urgent.size + this.#patient.size
  }

  /** Throws a RunError (EAGAIN) when the line is full. */
  enter(urgent: boolean): Ticket {
    if (this.#running < this.#concurrent) {
      this.#running += 1
      return this.#ticket(undefined, Promise.resolve())
    }
    if (this.queued >= this.#queued)
      throw runError(
        'limit',
        `${this.#queued} runs are waiting already; try again when some of them are done`,
        { limit: 'queue' },
      )
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting: Waiting = { enter: resolve }
    ;(urgent ? this.#urgent : this.#patient).add(waiting)
    return this.#ticket(waiting, promise)
  }

  #ticket(waiting: Waiting | undefined, entered: Promise<void>): Ticket {
    let left = false
    return {
      entered,
      promote: () => {
        if (waiting !== undefined && this.#patient.delete(waiting)) this.#urgent.add(waiting)
      },
      leave: () => {
        if (left) return
        left = true
        if (
          waiting !== undefined &&
          (this.#urgent.delete(waiting) || this.#patient.delete(waiting))
        )
          waiting.enter()
        else this.#next()
      },
    }
  }

  /** A run ended: its place goes to the first in line. */
  #next(): void {
    for (const line of [this.#urgent, this.#patient])
      for (const waiting of line) {
        line.delete(waiting)
        waiting.enter()
        return
      }
    this.#running -= 1
  }
}
