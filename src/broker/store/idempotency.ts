/** Answers of requests that came with an Idempotency-Key, so that a repeated one gets the same. */
import type { Connection } from './connection.ts'

export interface StoredAnswer {
  /** Of the request: the same key with another request is a mistake. */
  readonly fingerprint: string
  readonly status: number
  readonly body: string
}

/** Clients that still repeat a request after a day have other troubles. */
const KEPT_MS = 24 * 3_600_000
/** Of one tenant; the oldest go first. */
const MAX_KEYS = 1_000

export class IdempotencyKeys {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  find(tenant: string, key: string, nowMs: number): StoredAnswer | undefined {
    const row = this.#connection.get(
      `SELECT fingerprint, status, body FROM idempotency_keys
       WHERE tenant = ? AND key = ? AND used_at_ms > ?`,
      tenant,
      key,
      nowMs - KEPT_MS,
    )
    if (row === undefined) return undefined
    return {
      fingerprint: String(row['fingerprint']),
      status: Number(row['status']),
      body: String(row['body']),
    }
  }

  save(tenant: string, key: string, answer: StoredAnswer, nowMs: number): void {
    this.#connection.transaction(() => {
      this.#connection.run(
        'INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)',
        tenant,
        key,
        answer.fingerprint,
        answer.status,
        answer.body,
        nowMs,
      )
      this.#connection.run(
        `DELETE FROM idempotency_keys WHERE tenant = ?1 AND (used_at_ms <= ?2 OR used_at_ms < (
           SELECT used_at_ms FROM idempotency_keys WHERE tenant = ?1
           ORDER BY used_at_ms DESC LIMIT 1 OFFSET ${MAX_KEYS - 1}))`,
        tenant,
        nowMs - KEPT_MS,
      )
    })
  }

  forget(tenant: string): void {
    this.#connection.run('DELETE FROM idempotency_keys WHERE tenant = ?', tenant)
  }
}
