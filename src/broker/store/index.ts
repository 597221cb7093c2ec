/** The broker's state: one file, its tables. */
import { readFileSync } from 'node:fs'
import { Audit } from './audit.ts'
import { Catalog } from './catalog.ts'
import { CertificatesTable } from './certificates.ts'
import { Connection } from './connection.ts'
import { GrantsTable } from './grants-table.ts'
import { IdempotencyKeys } from './idempotency.ts'
import { MIGRATIONS } from './migrations.ts'
import { PluginVolumesTable } from './plugin-volumes.ts'
import { VolumeIntents } from './volume-intents.ts'

export class Store {
  readonly grants: GrantsTable
  readonly catalog: Catalog
  readonly intents: VolumeIntents
  readonly keys: IdempotencyKeys
  readonly audit: Audit
  readonly certificates: CertificatesTable
  readonly plugin: PluginVolumesTable
  readonly #connection: Connection

  /** StoreError: busy, full, corrupt, written by a newer version. */
  constructor(file: string) {
    this.#connection = new Connection(file, MIGRATIONS)
    this.grants = new GrantsTable(this.#connection)
    this.catalog = new Catalog(this.#connection)
    this.intents = new VolumeIntents(this.#connection)
    this.keys = new IdempotencyKeys(this.#connection)
    this.audit = new Audit(this.#connection)
    this.certificates = new CertificatesTable(this.#connection)
    this.plugin = new PluginVolumesTable(this.#connection, bootId())
  }

  transaction<T>(work: () => T): T {
    return this.#connection.transaction(work)
  }

  /** Whether a write would go through now. */
  probe(): void {
    this.#connection.transaction(() => {
      // A page is written, so that a full disk is told too.
      this.#connection.run('INSERT INTO drains VALUES (?, ?)', '', 0)
      this.#connection.run('DELETE FROM drains WHERE volume = ?', '')
    })
  }

  close(): void {
    this.#connection.close()
  }
}

/** Another one after each start of the machine. */
function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}
