/** The broker's state: one file, its tables. */
import { Audit } from './audit.ts'
import { Catalog } from './catalog.ts'
import { Connection } from './connection.ts'
import { GrantsTable } from './grants-table.ts'
import { IdempotencyKeys } from './idempotency.ts'
import { MIGRATIONS } from './migrations.ts'

export class Store {
  readonly grants: GrantsTable
  readonly catalog: Catalog
  readonly keys: IdempotencyKeys
  readonly audit: Audit
  readonly #connection: Connection

  /** StoreError: busy, full, corrupt, written by a newer version. */
  constructor(file: string) {
    this.#connection = new Connection(file, MIGRATIONS)
    this.grants = new GrantsTable(this.#connection)
    this.catalog = new Catalog(this.#connection)
    this.keys = new IdempotencyKeys(this.#connection)
    this.audit = new Audit(this.#connection)
  }

  transaction<T>(work: () => T): T {
    return this.#connection.transaction(work)
  }

  /** Whether a write would go through now. */
  probe(): void {
    this.#connection.transaction(() =>
      this.#connection.run('DELETE FROM drains WHERE volume = ?', ''),
    )
  }

  close(): void {
    this.#connection.close()
  }
}
