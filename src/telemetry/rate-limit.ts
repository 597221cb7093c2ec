/**
 * Bounds what users can make a log say: of one message, so many a minute. What is left out is said
 * at once, and counted when the message comes again later.
 */

export const MESSAGE_LIMIT = {
  perMinute: 20, // who reads the log has understood by then
  messages: 1_000, // remembered; ours are constant but for a few
}

const MINUTE_MS = 60_000

interface Window {
  startedAtMs: number
  said: number
  suppressed: number
}

export type Verdict =
  | { readonly say: true; readonly suppressedBefore: number }
  | { readonly say: false; readonly first: boolean }

export class RateLimit {
  readonly #windows = new Map<string, Window>()
  readonly #limit: typeof MESSAGE_LIMIT

  constructor(limit = MESSAGE_LIMIT) {
    this.#limit = limit
  }

  judge(message: string, nowMs: number): Verdict {
    const known = this.#windows.get(message)
    if (known === undefined || nowMs - known.startedAtMs >= MINUTE_MS) {
      // The oldest goes first: a Map keeps the order in which windows began.
      this.#windows.delete(message)
      if (this.#windows.size >= this.#limit.messages)
        for (const oldest of this.#windows.keys()) {
          this.#windows.delete(oldest)
          break
        }
      this.#windows.set(message, { startedAtMs: nowMs, said: 1, suppressed: 0 })
      return { say: true, suppressedBefore: known?.suppressed ?? 0 }
    }
    if (known.said < this.#limit.perMinute) {
      known.said += 1
      return { say: true, suppressedBefore: 0 }
    }
    known.suppressed += 1
    return { say: false, first: known.suppressed === 1 }
  }
}
