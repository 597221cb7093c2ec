/** Who did what, and what was refused. Append-only: triggers of the table hold that. */
import type { Connection, Row } from './connection.ts'

export type AuditAction =
  | 'connect'
  | 'mount'
  | 'unmount'
  | 'expire'
  | 'revoke'
  | 'restore'
  | 'compute'
  | 'drift'
  | 'drain'
  | 'volume-put'
  | 'volume-snapshot'
  | 'volume-remove'
  | 'policy-put'
  | 'policy-remove'
  | 'tenant-add'
  | 'tenant-remove'
  | 'plugin-create'
  | 'plugin-remove'
  | 'certificate-issue'
  | 'certificate-revoke'

export type AuditOutcome = 'done' | 'refused' | 'failed'

/** Whoever asked; the daemon itself has no pid here. */
export interface Actor {
  readonly uid: number | undefined
  readonly pid: number | undefined
  readonly container: string | undefined
}

export interface AuditEntry extends Actor {
  readonly action: AuditAction
  readonly outcome: AuditOutcome
  readonly tenant: string | undefined
  /** A grant, a volume, a policy. */
  readonly subject: string | undefined
  readonly reason: string | undefined
}

export interface AuditRecord extends AuditEntry {
  readonly id: number
  readonly atMs: number
}

export interface AuditQuery {
  readonly tenant?: string | undefined
  readonly action?: string | undefined
  readonly outcome?: string | undefined
  /** Only older ones: the smallest id of the page before. */
  readonly before?: number | undefined
  readonly limit: number
}

/** The numbers in the triggers of the tables: of all, and of one tenant, which else could push out what is
 * kept of the others. */
const KEPT = 1_000_000
const KEPT_OF_TENANT = 250_000
/** Between two looks for what is beyond the bound. */
const PRUNE_EVERY = 10_000
/** A reason can hold what a tenant sent. */
const MAX_TEXT = 1_000

export class Audit {
  readonly #connection: Connection
  #sincePrune = 0
  /** How many each tenant has, as far as it was looked at. */
  readonly #counts = new Map<string, number>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  append(entry: AuditEntry, nowMs: number): void {
    this.#connection.run(
      `INSERT INTO audit (at_ms, action, outcome, tenant, uid, pid, container, subject, reason)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      nowMs,
      entry.action,
      entry.outcome,
      entry.tenant ?? null,
      entry.uid ?? null,
      entry.pid ?? null,
      entry.container?.slice(0, MAX_TEXT) ?? null,
      entry.subject?.slice(0, MAX_TEXT) ?? null,
      entry.reason?.slice(0, MAX_TEXT) ?? null,
    )
    if (entry.tenant !== undefined) this.#count(entry.tenant)
    if (++this.#sincePrune < PRUNE_EVERY) return
    this.#sincePrune = 0
    this.#connection.run('DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?', KEPT)
  }

  #count(tenant: string): void {
    const known = this.#counts.get(tenant)
    const count = known === undefined ? this.#stored(tenant) : known + 1
    this.#counts.set(tenant, count)
    if (count < KEPT_OF_TENANT + PRUNE_EVERY) return
    this.#counts.delete(tenant)
    const oldest = this.#connection.get(
      'SELECT id FROM audit WHERE tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?',
      tenant,
      KEPT_OF_TENANT,
    )
    if (oldest === undefined) return // fewer than was counted: some went with the oldest of all
    const floor = Number(oldest['id'])
    this.#connection.run('INSERT OR REPLACE INTO audit_floors VALUES (?, ?)', tenant, floor)
    this.#connection.run('DELETE FROM audit WHERE tenant = ? AND id <= ?', tenant, floor)
  }

  #stored(tenant: string): number {
    const row = this.#connection.get('SELECT count(*) AS n FROM audit WHERE tenant = ?', tenant)
    return Number(row?.['n'] ?? 0)
  }

  /** Newest first. */
  list({ tenant, action, outcome, before, limit }: AuditQuery): AuditRecord[] {
    const filters: [string, string | number | undefined][] = [
      ['tenant = ?', tenant],
      ['action = ?', action],
      ['outcome = ?', outcome],
      ['id < ?', before],
    ]
    const given = filters.filter(([, value]) => value !== undefined)
    const where = given.length === 0 ? '' : `WHERE ${given.map(([sql]) => sql).join(' AND ')}`
    return this.#connection
      .all(
        `SELECT * FROM audit ${where} ORDER BY id DESC LIMIT ?`,
        ...given.map(([, value]) => value ?? null),
        limit,
      )
      .map(fromRow)
  }
}

function fromRow(row: Row): AuditRecord {
  const text = (name: string): string | undefined =>
    row[name] === null ? undefined : String(row[name])
  const number = (name: string): number | undefined =>
    row[name] === null ? undefined : Number(row[name])
  return {
    id: Number(row['id']),
    atMs: Number(row['at_ms']),
    action: String(row['action']) as AuditAction,
    outcome: String(row['outcome']) as AuditOutcome,
    tenant: text('tenant'),
    uid: number('uid'),
    pid: number('pid'),
    container: text('container'),
    subject: text('subject'),
    reason: text('reason'),
  }
}
