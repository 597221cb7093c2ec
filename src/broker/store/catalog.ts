/** Tenants, volumes and policies that were made through the API, and drains. Records are JSON: they were
 * checked before they were written, and are read as a whole. */
import type { Policy, Tenant, Volume } from '../types.ts'
import type { Connection } from './connection.ts'

/** As JSON leaves out what is undefined, every optional field is read with `?? undefined`. */
class Records<T extends { readonly name: string }> {
  readonly #connection: Connection
  readonly #table: string

  constructor(connection: Connection, table: 'volumes' | 'policies' | 'tenants') {
    this.#connection = connection
    this.#table = table
  }

  all(): T[] {
    return this.#connection
      .all(`SELECT record FROM ${this.#table} ORDER BY name`)
      .map((row) => JSON.parse(String(row['record'])) as T)
  }

  put(record: T): void {
    this.#connection.run(
      `INSERT INTO ${this.#table} VALUES (?, ?)
       ON CONFLICT (name) DO UPDATE SET record = excluded.record`,
      record.name,
      JSON.stringify(record),
    )
  }

  /** False: there was none. */
  remove(name: string): boolean {
    return this.#connection.run(`DELETE FROM ${this.#table} WHERE name = ?`, name) > 0
  }
}

export class Catalog {
  readonly volumes: Records<Volume>
  readonly policies: Records<Policy>
  readonly tenants: Records<Tenant>
  readonly #connection: Connection

  constructor(connection: Connection) {
    this.#connection = connection
    this.volumes = new Records(connection, 'volumes')
    this.policies = new Records(connection, 'policies')
    this.tenants = new Records(connection, 'tenants')
  }

  drains(): Set<string> {
    return new Set(
      this.#connection.all('SELECT volume FROM drains').map((row) => String(row['volume'])),
    )
  }

  setDraining(volume: string, draining: boolean, nowMs: number): void {
    if (draining) this.#connection.run('INSERT OR IGNORE INTO drains VALUES (?, ?)', volume, nowMs)
    else this.#connection.run('DELETE FROM drains WHERE volume = ?', volume)
  }
}
