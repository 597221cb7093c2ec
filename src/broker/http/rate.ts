/** A token bucket a tenant: one that asks without end does not take the daemon from the others. */
import { BrokerError } from '../broker-error.ts'
import { HTTP_BOUNDS } from './bounds.ts'

export class Rate {
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>()

  /** Throws `too-many-requests`. */
  take(tenant: string, nowMs = performance.now()): void {
    const bucket = this.#buckets.get(tenant) ?? { tokens: HTTP_BOUNDS.burst, atMs: nowMs }
    const gained = ((nowMs - bucket.atMs) / 1_000) * HTTP_BOUNDS.ratePerSecond
    bucket.tokens = Math.min(HTTP_BOUNDS.burst, bucket.tokens + gained)
    bucket.atMs = nowMs
    this.#buckets.set(tenant, bucket)
    if (bucket.tokens < 1) throw new BrokerError('too-many-requests', 'there are too many requests')
    bucket.tokens -= 1
  }

  forget(tenant: string): void {
    this.#buckets.delete(tenant)
  }
}
