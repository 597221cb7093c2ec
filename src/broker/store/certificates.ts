/** Certificates that were given out; one that does not stand here, or was revoked, is nobody's. */
import type { Connection, Row } from './connection.ts'

export interface StoredCertificate {
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string
  readonly tenant: string
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  readonly revokedAtMs: number | undefined
}

/** So long after its end a certificate is still told of. */
const KEPT_MS = 30 * 86_400_000

export class CertificatesTable {
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Forgets what ended long ago. */
  insert({ fingerprint, tenant, issuedAtMs, expiresAtMs }: StoredCertificate): void {
    this.#connection.transaction(() => {
      this.#connection.run('DELETE FROM certificates WHERE expires_at_ms < ?', issuedAtMs - KEPT_MS)
      this.#connection.run(
        'INSERT INTO certificates VALUES (?, ?, ?, ?, NULL)',
        fingerprint,
        tenant,
        issuedAtMs,
        expiresAtMs,
      )
    })
  }

  find(fingerprint: string): StoredCertificate | undefined {
    const sql = 'SELECT * FROM certificates WHERE fingerprint = ?'
    const row = this.#connection.get(sql, fingerprint)
    return row && fromRow(row)
  }

  /** Newest first. */
  of(tenant: string): StoredCertificate[] {
    return this.#connection
      .all(
        'SELECT * FROM certificates WHERE tenant = ? ORDER BY issued_at_ms DESC, fingerprint',
        tenant,
      )
      .map(fromRow)
  }

  /** False: the tenant has no such, or it was revoked before. */
  revoke(tenant: string, fingerprint: string, nowMs: number): boolean {
    return (
      this.#connection.run(
        `UPDATE certificates SET revoked_at_ms = ?
         WHERE tenant = ? AND fingerprint = ? AND revoked_at_ms IS NULL`,
        nowMs,
        tenant,
        fingerprint,
      ) > 0
    )
  }

  /** A later tenant of that name is another one. */
  forget(tenant: string): void {
    this.#connection.run('DELETE FROM certificates WHERE tenant = ?', tenant)
  }
}

function fromRow(row: Row): StoredCertificate {
  const revoked = row['revoked_at_ms']
  return {
    fingerprint: String(row['fingerprint']),
    tenant: String(row['tenant']),
    issuedAtMs: Number(row['issued_at_ms']),
    expiresAtMs: Number(row['expires_at_ms']),
    revokedAtMs: revoked === null ? undefined : Number(revoked),
  }
}
