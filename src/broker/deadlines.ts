/** Many deadlines, one timer. */

interface Deadline {
  readonly atMs: number
  readonly id: string
}

/** The wall clock can be set, and a machine can sleep: no timer is trusted for longer. */
const LONGEST_TIMER_MS = 60_000

export class Deadlines {
  readonly #onDue: (id: string) => void
  /** A binary heap; what was moved or dropped stays in it until its time, and is then known as stale. */
  readonly #heap: Deadline[] = []
  readonly #current = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(onDue: (id: string) => void) {
    this.#onDue = onDue
  }

  /** `undefined`: never. */
  set(id: string, atMs: number | undefined): void {
    if (atMs === undefined) {
      this.#current.delete(id)
      return
    }
    if (this.#current.get(id) === atMs) return
    this.#current.set(id, atMs)
    this.#push({ atMs, id })
    if (this.#heap[0]?.id === id) this.#arm()
  }

  get size(): number {
    return this.#current.size
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #arm(): void {
    clearTimeout(this.#timer)
    const [first] = this.#heap
    if (first === undefined || this.#closed) return
    const delay = Math.max(0, Math.min(first.atMs - Date.now(), LONGEST_TIMER_MS))
    this.#timer = setTimeout(() => this.#fire(), delay)
    this.#timer.unref()
  }

  #fire(): void {
    const now = Date.now()
    for (
      let first = this.#heap[0];
      first !== undefined && first.atMs <= now;
      first = this.#heap[0]
    ) {
      this.#pop()
      if (this.#current.get(first.id) !== first.atMs) continue
      this.#current.delete(first.id)
      this.#onDue(first.id)
    }
    this.#arm()
  }

  #push(deadline: Deadline): void {
    // Stale ones must not pile up when deadlines are set and dropped again and again.
    if (this.#heap.length > 2 * this.#current.size + 1_024) this.#rebuild()
    else this.#sift(this.#heap.push(deadline) - 1)
  }

  #rebuild(): void {
    this.#heap.length = 0
    for (const [id, atMs] of this.#current) this.#sift(this.#heap.push({ atMs, id }) - 1)
  }

  #pop(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    for (let at = 0; ;) {
      const [left, right] = [this.#heap[2 * at + 1], this.#heap[2 * at + 2]]
      if (left === undefined) return
      const child = right !== undefined && right.atMs < left.atMs ? 2 * at + 2 : 2 * at + 1
      if (!this.#swapped(at, child)) return
      at = child
    }
  }

  #sift(from: number): void {
    for (let at = from; at > 0; at = (at - 1) >> 1) if (!this.#swapped((at - 1) >> 1, at)) return
  }

  /** Puts the earlier of both above. */
  #swapped(above: number, below: number): boolean {
    const [one, other] = [this.#heap[above], this.#heap[below]]
    if (one === undefined || other === undefined || one.atMs <= other.atMs) return false
    this.#heap[above] = other
    this.#heap[below] = one
    return true
  }
}
