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
  readonly uid: number
  readonly enter: () => void
}

/** Those of each user in order of arrival. */
class Line {
  readonly #byUser = new Map<number, Set<Waiting>>()

  get size(): number {
    let size = 0
    for (const waiting of this.#byUser.values()) size += waiting.size
    return size
  }

  of(uid: number): number {
    return this.#byUser.get(uid)?.size ?? 0
  }

  add(waiting: Waiting): void {
    const own = this.#byUser.get(waiting.uid)
    if (own === undefined) this.#byUser.set(waiting.uid, new Set([waiting]))
    else own.add(waiting)
  }

  delete(waiting: Waiting): boolean {
    const own = this.#byUser.get(waiting.uid)
    if (own === undefined || !own.delete(waiting)) return false
    if (own.size === 0) this.#byUser.delete(waiting.uid)
    return true
  }

  /** Of the user with the fewest runs; among equals of the one who waits longest for a turn. */
  shift(running: ReadonlyMap<number, number>): Waiting | undefined {
    let next: number | undefined
    for (const uid of this.#byUser.keys())
      if (next === undefined || (running.get(uid) ?? 0) < (running.get(next) ?? 0)) next = uid
    if (next === undefined) return undefined
    const own = this.#byUser.get(next)
    const [first] = own ?? []
    if (own === undefined || first === undefined) return undefined
    own.delete(first)
    this.#byUser.delete(next)
    if (own.size > 0) this.#byUser.set(next, own)
    return first
  }
}

/**
 * Bounds the runs of one tenant: so many at once, so many of each user in line; those with a reader
 * first. Users take turns, so that one who asks for a thousand runs delays another by one.
 */
export class Scheduler {
  readonly #concurrent: number
  readonly #queued: number
  readonly #urgent = new Line()
  readonly #patient = new Line()
  /** By uid. */
  readonly #runningOf = new Map<number, number>()
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

  /** A run that starts at once; undefined: there is no room for it now. */
  enterNow(uid: number): Ticket | undefined {
    if (this.#running >= this.#concurrent) return undefined
    this.#count(uid, 1)
    return this.#ticket(uid, undefined, Promise.resolve())
  }

  /** Throws a RunError (EAGAIN) when the user's line is full. */
  enter(urgent: boolean, uid: number): Ticket {
    const now = this.enterNow(uid)
    if (now !== undefined) return now
    if (this.#urgent.of(uid) + this.#patient.of(uid) >= this.#queued)
      throw runError(
        'limit',
        `${this.#queued} runs are waiting already; try again when some of them are done`,
        { limit: 'queue' },
      )
    const { promise, resolve } = Promise.withResolvers<void>()
    const waiting: Waiting = { uid, enter: resolve }
    ;(urgent ? this.#urgent : this.#patient).add(waiting)
    return this.#ticket(uid, waiting, promise)
  }

  #ticket(uid: number, waiting: Waiting | undefined, entered: Promise<void>): Ticket {
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
        else this.#next(uid)
      },
    }
  }

  /** A run of this user ended: its place goes to the next. */
  #next(uid: number): void {
    this.#count(uid, -1)
    const next = this.#urgent.shift(this.#runningOf) ?? this.#patient.shift(this.#runningOf)
    if (next === undefined) return
    this.#count(next.uid, 1)
    next.enter()
  }

  #count(uid: number, change: number): void {
    this.#running += change
    const count = (this.#runningOf.get(uid) ?? 0) + change
    if (count === 0) this.#runningOf.delete(uid)
    else this.#runningOf.set(uid, count)
  }
}
