/** Who waits: first come, first served for each principal; the principals of a tenant take turns, and
 * so do the tenants. Bounded for each, so that one that floods fills only its own line. */

export interface Head<T> {
  readonly tenant: string
  readonly principal: string
  readonly item: T
}

/** Lines of a tenant: its principals are bounded each, and all of them together. */
const LINES_OF_TENANT = 10

interface Lines<T> {
  /** In the order of their turns; no line in here is empty. */
  readonly principals: Map<string, T[]>
  size: number
}

export class FairQueue<T> {
  readonly #maxEach: number
  /** In the order of their turns; each has a line. */
  readonly #tenants = new Map<string, Lines<T>>()
  #size = 0

  constructor(maxEach: number) {
    this.#maxEach = maxEach
  }

  get size(): number {
    return this.#size
  }

  /** False when the line is full. */
  push(tenant: string, principal: string, item: T): boolean {
    const lines = this.#tenants.get(tenant) ?? { principals: new Map<string, T[]>(), size: 0 }
    const line = lines.principals.get(principal) ?? []
    if (line.length >= this.#maxEach || lines.size >= this.#maxEach * LINES_OF_TENANT) return false
    line.push(item)
    lines.principals.set(principal, line)
    lines.size += 1
    this.#tenants.set(tenant, lines)
    this.#size += 1
    return true
  }

  /** The first of each principal, in the order of their turns; nothing is taken meanwhile. */
  *heads(): Generator<Head<T>> {
    for (const [tenant, { principals }] of this.#tenants)
      for (const [principal, [item]] of principals)
        if (item !== undefined) yield { tenant, principal, item }
  }

  /** All that waits, in no order that matters. */
  *items(): Generator<T> {
    for (const { principals } of this.#tenants.values())
      for (const line of principals.values()) yield* line
  }

  /** Takes the principal's first; its turn is over, and so is its tenant's. */
  shift(tenant: string, principal: string): T | undefined {
    const lines = this.#tenants.get(tenant)
    const line = lines?.principals.get(principal)
    const item = line?.[0]
    if (lines === undefined || line === undefined || item === undefined) return undefined
    this.#take(tenant, lines, principal, line, 0)
    if (line.length > 0) {
      lines.principals.delete(principal)
      lines.principals.set(principal, line)
    }
    if (this.#tenants.delete(tenant)) this.#tenants.set(tenant, lines)
    return item
  }

  remove(tenant: string, principal: string, item: T): boolean {
    const lines = this.#tenants.get(tenant)
    const line = lines?.principals.get(principal)
    const at = line?.indexOf(item) ?? -1
    if (lines === undefined || line === undefined || at < 0) return false
    this.#take(tenant, lines, principal, line, at)
    return true
  }

  clear(): T[] {
    const all = [...this.items()]
    this.#tenants.clear()
    this.#size = 0
    return all
  }

  #take(tenant: string, lines: Lines<T>, principal: string, line: T[], at: number): void {
    line.splice(at, 1)
    lines.size -= 1
    this.#size -= 1
    if (line.length === 0) lines.principals.delete(principal)
    if (lines.size === 0) this.#tenants.delete(tenant)
  }
}
