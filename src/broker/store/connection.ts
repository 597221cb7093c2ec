/**
 * One SQLite file, opened and brought to this version's schema. Commits are in the write-ahead log when
 * a call returns, so they survive the end of this process; after a loss of power the last ones may be
 * missing, never half there.
 */
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite'

/** `busy`: another process holds it; `newer`: written by a later version; `io`: all else. */
export type StoreFault = 'busy' | 'full' | 'corrupt' | 'newer' | 'read-only' | 'io'

/** Nothing was changed. What is mounted is served all the same. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  readonly fault: StoreFault

  constructor(fault: StoreFault, message: string, options?: ErrorOptions) {
    super(message, options)
    this.fault = fault
  }
}

/** What SQLite takes and gives. */
export type Value = string | number | null
export type Row = Readonly<Record<string, SQLOutputValue>>

/** Somebody backs the file up; longer would hold up every tenant, since the wait is synchronous. */
const BUSY_TIMEOUT_MS = 250

const FAULTS: Readonly<Record<number, readonly [StoreFault, string]>> = {
  5: ['busy', 'is in use by another process'],
  6: ['busy', 'is in use by another process'],
  8: ['read-only', 'cannot be written'],
  11: ['corrupt', 'is damaged; restore it from a backup, or move it away to begin anew'],
  13: ['full', 'has no space left on its filesystem'],
  26: ['corrupt', 'is no database; restore it from a backup, or move it away to begin anew'],
}

export class Connection {
  readonly #file: string
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  /** Somebody held it the last time: until that is over, nobody waits for it. */
  #held = false

  /** StoreError. */
  constructor(file: string, migrations: readonly string[]) {
    this.#file = file
    this.#db = this.#guarded(() => new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS }))
    try {
      this.#guarded(() => {
        this.#db.exec(
          `PRAGMA journal_mode = WAL;
           PRAGMA synchronous = NORMAL;
           PRAGMA journal_size_limit = 8388608;`,
        )
        this.#check()
        this.#migrate(migrations)
      })
    } catch (error) {
      this.#db.close()
      throw error
    }
  }

  get(sql: string, ...values: Value[]): Row | undefined {
    return this.#guarded(() => this.#prepare(sql).get(...values))
  }

  all(sql: string, ...values: Value[]): Row[] {
    return this.#guarded(() => this.#prepare(sql).all(...values))
  }

  /** The number of changed rows. */
  run(sql: string, ...values: Value[]): number {
    const changes = this.#guarded(() => Number(this.#prepare(sql).run(...values).changes))
    this.#setHeld(false)
    return changes
  }

  /** All or nothing; joins one that is open. */
  transaction<T>(work: () => T): T {
    if (this.#db.isTransaction) return work()
    return this.#guarded(() => {
      this.#db.exec('BEGIN IMMEDIATE')
      try {
        const result = work()
        this.#db.exec('COMMIT')
        return result
      } catch (error) {
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
        throw error
      }
    })
  }

  close(): void {
    this.#statements.clear()
    this.#db.close()
  }

  #setHeld(held: boolean): void {
    if (this.#held === held) return
    this.#held = held
    this.#db.exec(`PRAGMA busy_timeout = ${held ? 0 : BUSY_TIMEOUT_MS}`)
  }

  #check(): void {
    const row = this.#db.prepare('PRAGMA quick_check(1)').get()
    if (row?.['quick_check'] === 'ok') return
    throw new StoreError('corrupt', `${this.#file} is damaged: ${String(row?.['quick_check'])}`)
  }

  #migrate(migrations: readonly string[]): void {
    const version = Number(this.#db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0)
    if (version > migrations.length)
      throw new StoreError(
        'newer',
        `${this.#file} was written by a newer insitu (schema ${version}, this one knows ${migrations.length}); upgrade`,
      )
    for (const [index, migration] of migrations.entries()) {
      if (index < version) continue
      this.transaction(() => {
        this.#db.exec(migration)
        this.#db.exec(`PRAGMA user_version = ${index + 1}`)
      })
    }
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      const { errcode, message } = error as { errcode?: number; message: string }
      if (errcode === undefined) throw error // not SQLite's
      const [fault, text] = FAULTS[errcode & 0xff] ?? ['io', `cannot be used: ${message}`]
      if (fault === 'busy') this.#setHeld(true)
      throw new StoreError(fault, `${this.#file} ${text}`, { cause: error })
    }
  }
}
