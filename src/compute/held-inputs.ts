/**
 * What the inputs of results take in memory, of one tenant's programs together. Each may look at a hundred
 * thousand names, and anybody may attach a program to each of his directories: those that were used longest
 * ago are put away, and read again from what is stored when somebody asks for them.
 */
import { LRUCache } from 'lru-cache'
import type { InputIdentity, InputSession } from '../file-server/types.ts'

export interface Holder {
  /** Lets go of all inputs that it holds. */
  putAway(): void
}

/** An identity, its two places in tables, and what an allocator adds; its path is in both. Measured: 240 to 390. */
const IDENTITY_BYTES = 384
/** A session without any. Measured: 900. */
const SESSION_BYTES = 1_024

export class HeldInputs {
  readonly #bound: number
  readonly #holders: LRUCache<Holder, true>
  readonly #sizes = new WeakMap<InputSession, number>()

  constructor(bound: number) {
    this.#bound = bound
    this.#holders = new LRUCache<Holder, true>({
      maxSize: bound,
      disposeAfter: (_, holder, reason) => {
        if (reason === 'evict') holder.putAway()
      },
    })
  }

  /** What `holder` has from now on. */
  hold(holder: Holder, sessions: Iterable<InputSession>): void {
    let size = 0
    for (const session of new Set(sessions)) size += this.#sizeOf(session)
    // Setting what is there would leave its size as it was.
    this.#holders.delete(holder)
    if (size > 0) this.#holders.set(holder, true, { size: Math.min(size, this.#bound) })
  }

  /** Somebody asks for it. */
  use(holder: Holder): void {
    this.#holders.get(holder)
  }

  /** Where the identities are known already. */
  measure(session: InputSession, identities: readonly InputIdentity[]): void {
    const names = identities.reduce((sum, { path }) => sum + path.length, 0)
    this.#sizes.set(session, SESSION_BYTES + identities.length * IDENTITY_BYTES + 2 * names)
  }

  #sizeOf(session: InputSession): number {
    if (!this.#sizes.has(session)) this.measure(session, session.identities())
    return this.#sizes.get(session) ?? 0
  }
}
