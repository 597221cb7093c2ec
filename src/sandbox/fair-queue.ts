/** First come, first served within a tenant; tenants take turns. Bounded for each tenant, so that one
 * that floods fills only its own queue. */
export class FairQueue<T> {
  readonly #maxEach: number
  /** In the order of their turns; no queue in here is empty. */
  readonly #queues = new Map<string, T[]>()
  #size = 0

  constructor(maxEach: number) {
    this.#maxEach = maxEach
  }

  get size(): number {
    return this.#size
  }

  /** False when the tenant's queue is full. */
  push(tenant: string, item: T): boolean {
    const queue = this.#queues.get(tenant)
    if ((queue?.length ?? 0) >= this.#maxEach) return false
    if (queue === undefined) this.#queues.set(tenant, [item])
    else queue.push(item)
    this.#size += 1
    return true
  }

  /** The first of each tenant, in the order of their turns. */
  *heads(): Generator<readonly [tenant: string, item: T]> {
    // Of those that are there now: taking one puts its tenant at the end.
    const turns = Array.from(this.#queues)
    for (const [tenant, [item]] of turns) if (item !== undefined) yield [tenant, item]
  }

  /** All that waits, in no order that matters. */
  *items(): Generator<T> {
    for (const queue of this.#queues.values()) yield* queue
  }

  /** Takes the tenant's first, and its turn is over. */
  shift(tenant: string): T | undefined {
    const queue = this.#queues.get(tenant)
    const item = queue?.shift()
    if (queue === undefined || item === undefined) return undefined
    this.#size -= 1
    this.#queues.delete(tenant)
    if (queue.length > 0) this.#queues.set(tenant, queue)
    return item
  }

  remove(tenant: string, item: T): boolean {
    const queue = this.#queues.get(tenant)
    const at = queue?.indexOf(item) ?? -1
    if (queue === undefined || at < 0) return false
    queue.splice(at, 1)
    if (queue.length === 0) this.#queues.delete(tenant)
    this.#size -= 1
    return true
  }

  clear(): T[] {
    const all = [...this.#queues.values()].flat()
    this.#queues.clear()
    this.#size = 0
    return all
  }
}
