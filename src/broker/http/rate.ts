/** A token bucket a tenant: one that asks without end does not take the daemon from the others. */
import { BrokerError } from '../broker-error.ts'
import { HTTP_BOUNDS } from './bounds.ts'

export class Rate {
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>()

  /** `bytes`: of the body, which take time to read and parse. Throws `too-many-requests`. */
  take(tenant: string, bytes: number, nowMs = performance.now()): void {
    const bucket = this.#buckets.get(tenant) ?? { tokens: HTTP_BOUNDS.burst, atMs: nowMs }
    const gained = ((nowMs - bucket.atMs) / 1_000) * HTTP_BOUNDS.ratePerSecond
    bucket.tokens = Math.min(HTTP_BOUNDS.burst, bucket.tokens + gained)
    bucket.atMs = nowMs
    this.#buckets.set(tenant, bucket)
    if (bucket.tokens < 1) throw new BrokerError('too-many-requests', 'there are too many requests')
    // It may come to owe: a large one is asked for as well as a small one, and waited for longer after.
    bucket.tokens -= 1 + bytes / HTTP_BOUNDS.bytesPerToken
  }

  forget(tenant: string): void {
    this.#buckets.delete(tenant)
  }
}
