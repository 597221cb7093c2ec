/** How much of one kind a tenant has under way at a time. */
import { BrokerError } from '../broker-error.ts'

export class UnderWay {
  readonly #most: number
  readonly #what: string
  readonly #counts = new Map<string, number>()

  /** `what`: in the plural. */
  constructor(most: number, what: string) {
    this.#most = most
    this.#what = what
  }

  /** Throws `too-many-requests`; returns what ends it, which may be called again. */
  enter(tenant: string): () => void {
    const count = this.#counts.get(tenant) ?? 0
    if (count >= this.#most)
      throw new BrokerError('too-many-requests', `there are too many ${this.#what} under way`)
    this.#counts.set(tenant, count + 1)
    let over = false
    return () => {
      if (over) return
      over = true
      const left = (this.#counts.get(tenant) ?? 1) - 1
      if (left === 0) this.#counts.delete(tenant)
      else this.#counts.set(tenant, left)
    }
  }
}
