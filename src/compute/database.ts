/**
 * The programs of one volume and their last runs, in one SQLite file. Who opens it holds the lock of its state
 * directory (two engines over one would remove each other's results); others may read it, as for a backup.
 *
 * Commits are in the write-ahead log when a call returns, so they survive the end of this process;
 * after a loss of power the last ones may be missing, never half there.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { DirectoryKey, Principal } from '../file-server/types.ts'
import type { GuestError, Usage } from '../sandbox/types.ts'
import { DEFAULT_COMPUTE_LIMITS, type ComputeLimits } from '../config/limits.ts'
import { VfsError } from '../errors.ts'
import type { RunFailure } from './run-error.ts'
import { guarded, openStateFile } from './state-file.ts'
import { StoredBytes } from './stored-bytes.ts'

export interface ProgramRecord {
  readonly key: DirectoryKey
  /** Where the directory was when it was last seen; for people, never used to find it. */
  readonly path: string | undefined
  /** sha256 of the source, hex. */
  readonly hash: string
  readonly sizeBytes: number
  readonly principal: Principal
  readonly attachedAtMs: number
  /** Why it does not compile. */
  readonly broken: GuestError | undefined
  /** Since when the directory is gone. */
  readonly missingSinceMs: number | undefined
}

export interface RunRecord {
  readonly state: 'ok' | 'failed' | 'cancelled'
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly usage: Usage | undefined
  readonly inputs: number
  readonly results: readonly { readonly name: string; readonly sizeBytes: number }[]
  readonly failure: RunFailure | undefined
}

interface PendingRun {
  readonly version: number
  readonly record: RunRecord
  readonly log: Uint8Array
}

/** One step a version; a released step is never changed. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE programs (
     key TEXT PRIMARY KEY,
     path TEXT,
     source BLOB NOT NULL,
     hash TEXT NOT NULL,
     uid INTEGER NOT NULL,
     gid INTEGER NOT NULL,
     groups TEXT NOT NULL,
     attached_at_ms INTEGER NOT NULL,
     broken TEXT,
     missing_since_ms INTEGER
   ) STRICT;
   CREATE TABLE versions (
     key TEXT PRIMARY KEY,
     version INTEGER NOT NULL,
     used_at_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE runs (
     key TEXT PRIMARY KEY,
     state TEXT NOT NULL,
     record TEXT NOT NULL,
     log BLOB NOT NULL
   ) STRICT;`,
]

/** Of a program's row, and of its last run's: what can be long in them. */
const PROGRAM_BYTES = 'length(source) + octet_length(groups) + coalesce(octet_length(broken), 0)'
const RUN_BYTES = 'length(log) + octet_length(record)'
const LEFT_OUT = Buffer.from('[the log made room for those of other programs; run it again]\n')

type Bounds = Pick<ComputeLimits, 'sourcesBytes' | 'logsBytes'>

export class Database {
  readonly #db: DatabaseSync
  readonly #onError: (error: Error) => void
  readonly #statements = new Map<string, StatementSync>()
  /** Runs that are not written yet; the log of a run must not delay who waits for its results. */
  readonly #pending = new Map<DirectoryKey, PendingRun>()
  #flushing: NodeJS.Immediate | undefined
  readonly #bounds: Bounds
  #sourcesBytes = 0
  readonly #logs: StoredBytes

  /** `onError` hears of run records that could not be written; they are tried again. */
  constructor(
    file: string,
    onError: (error: Error) => void,
    bounds: Bounds = DEFAULT_COMPUTE_LIMITS,
  ) {
    this.#onError = onError
    this.#bounds = bounds
    this.#logs = new StoredBytes(bounds.logsBytes, (key) => this.#leaveOut(key))
    this.#db = guarded(file, () => openStateFile(file))
    try {
      guarded(file, () => {
        this.#migrate()
        this.#count()
      })
    } catch (error) {
      this.#db.close()
      throw error
    }
  }

  #migrate(): void {
    const row = this.#get('SELECT max(version) AS version FROM migrations')
    const version = Number(row?.['version'] ?? 0)
    if (version > MIGRATIONS.length)
      throw new VfsError(
        'ENOTSUP',
        `the state was written by a newer insitu (schema ${version}, this one knows ${MIGRATIONS.length}); upgrade, or use another --state`,
      )
    for (const [index, migration] of MIGRATIONS.entries()) {
      if (index < version) continue
      this.#transaction(() => {
        this.#db.exec(migration)
        this.#run('INSERT INTO migrations VALUES (?, ?)', index + 1, Date.now())
      })
    }
  }

  #count(): void {
    const sum = this.#get(`SELECT sum(${PROGRAM_BYTES}) AS bytes FROM programs`)
    this.#sourcesBytes = Number(sum?.['bytes'] ?? 0)
    // In the order of their last runs. All are read first, as those without room are changed meanwhile.
    const runs = this.#prepare(`SELECT key, ${RUN_BYTES} AS bytes FROM runs ORDER BY rowid`).all()
    for (const row of runs) this.#countLog(String(row['key']), Number(row['bytes']))
  }

  #countLog(key: DirectoryKey, sizeBytes: number): void {
    if (sizeBytes > this.#bounds.logsBytes) this.#leaveOut(key)
    else this.#logs.add(key, sizeBytes)
  }

  #leaveOut(key: DirectoryKey): void {
    const short = `UPDATE runs SET log = ?, record = json_set(record, '$.results', json('[]')) WHERE key = ?`
    this.#run(short, LEFT_OUT, key)
  }

  /** What the program of that directory takes. */
  #programBytes(key: DirectoryKey): number {
    const row = this.#get(`SELECT ${PROGRAM_BYTES} AS bytes FROM programs WHERE key = ?`, key)
    return Number(row?.['bytes'] ?? 0)
  }

  programs(): ProgramRecord[] {
    return this.#prepare(
      `SELECT key, path, hash, length(source) AS size, uid, gid, groups, attached_at_ms, broken,
         missing_since_ms FROM programs`,
    )
      .all()
      .map((row) => ({
        key: String(row['key']),
        path: row['path'] === null ? undefined : String(row['path']),
        hash: String(row['hash']),
        sizeBytes: Number(row['size']),
        principal: {
          uid: Number(row['uid']),
          gid: Number(row['gid']),
          groups: JSON.parse(String(row['groups'])) as number[],
        },
        attachedAtMs: Number(row['attached_at_ms']),
        broken:
          row['broken'] === null ? undefined : (JSON.parse(String(row['broken'])) as GuestError),
        missingSinceMs:
          row['missing_since_ms'] === null ? undefined : Number(row['missing_since_ms']),
      }))
  }

  /** The last version number of every directory. */
  versions(): Map<DirectoryKey, number> {
    return new Map(
      this.#prepare('SELECT key, version FROM versions')
        .all()
        .map((row) => [String(row['key']), Number(row['version'])]),
    )
  }

  /** How every last run ended. */
  states(): Map<DirectoryKey, RunRecord['state']> {
    return new Map(
      this.#prepare('SELECT key, state FROM runs')
        .all()
        .map((row) => [String(row['key']), String(row['state']) as RunRecord['state']]),
    )
  }

  source(key: DirectoryKey): Uint8Array | undefined {
    const row = this.#get('SELECT source FROM programs WHERE key = ?', key)
    return row?.['source'] as Uint8Array | undefined
  }

  /** VfsError EDQUOT when there is no room for it beside the other programs. */
  checkRoom({ key, sizeBytes }: Pick<ProgramRecord, 'key' | 'sizeBytes'>): void {
    const others = this.#sourcesBytes - this.#programBytes(key)
    const { sourcesBytes } = this.#bounds
    if (others + sizeBytes > sourcesBytes)
      throw new VfsError(
        'EDQUOT',
        `all other programs take ${others} bytes, and with this one they may take ${sourcesBytes}; remove some, or have the bound raised`,
      )
  }

  /** Adds or replaces a program; what is known of the last run of another one is dropped. VfsError EDQUOT. */
  attach(record: ProgramRecord, source: Uint8Array): void {
    this.checkRoom(record)
    const { uid, gid, groups } = record.principal
    const before = this.#programBytes(record.key)
    this.#transaction(() => {
      this.#run(
        'INSERT OR REPLACE INTO programs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)',
        record.key,
        record.path ?? null,
        source,
        record.hash,
        uid,
        gid,
        JSON.stringify(groups),
        record.attachedAtMs,
        record.broken === undefined ? null : JSON.stringify(record.broken),
      )
      this.#run('DELETE FROM runs WHERE key = ?', record.key)
    })
    this.#sourcesBytes += this.#programBytes(record.key) - before
    this.#logs.remove(record.key)
    this.#forgetRun(record.key)
  }

  /** Keeps the version: numbers go on if another program comes to this directory. */
  detach(key: DirectoryKey): void {
    const before = this.#programBytes(key)
    this.#transaction(() => {
      this.#writePending(key)
      this.#run('DELETE FROM runs WHERE key = ?', key)
      this.#run('DELETE FROM programs WHERE key = ?', key)
    })
    this.#sourcesBytes -= before
    this.#logs.remove(key)
    this.#pending.delete(key)
  }

  located(key: DirectoryKey, path: string | undefined, nowMs: number): void {
    if (path === undefined)
      this.#run(
        'UPDATE programs SET missing_since_ms = coalesce(missing_since_ms, ?) WHERE key = ?',
        nowMs,
        key,
      )
    else this.#run('UPDATE programs SET path = ?, missing_since_ms = NULL WHERE key = ?', path, key)
  }

  version(key: DirectoryKey): number {
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending.version
    return Number(this.#get('SELECT version FROM versions WHERE key = ?', key)?.['version'] ?? 0)
  }

  /** Forgets the versions of directories without a program that nobody used since. */
  dropVersions(usedBeforeMs: number): void {
    this.#run(
      `DELETE FROM versions WHERE used_at_ms < ? AND key NOT IN (SELECT key FROM programs)`,
      usedBeforeMs,
    )
  }

  run(key: DirectoryKey): RunRecord | undefined {
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending.record
    const row = this.#get('SELECT record FROM runs WHERE key = ?', key)
    return row === undefined ? undefined : (JSON.parse(String(row['record'])) as RunRecord)
  }

  log(key: DirectoryKey): Uint8Array {
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending.log
    const row = this.#get('SELECT log FROM runs WHERE key = ?', key)
    return (row?.['log'] as Uint8Array | undefined) ?? new Uint8Array()
  }

  /** Returns at once; written soon, together with others. */
  saveRun(key: DirectoryKey, version: number, record: RunRecord, log: Uint8Array): void {
    this.#pending.set(key, { version, record, log })
    this.#flushing ??= setImmediate(() => this.flush())
  }

  flush(): void {
    clearImmediate(this.#flushing)
    this.#flushing = undefined
    if (this.#pending.size === 0) return
    try {
      this.#transaction(() => {
        for (const key of this.#pending.keys()) this.#writePending(key)
      })
      this.#pending.clear()
    } catch (error) {
      // The records stay and go with the next flush; the logs are too large to pile up in memory.
      for (const [key, pending] of this.#pending)
        this.#pending.set(key, { ...pending, log: new Uint8Array() })
      this.#onError(error as Error)
    }
  }

  close(): void {
    this.flush()
    clearImmediate(this.#flushing)
    this.#statements.clear()
    this.#db.close()
  }

  #writePending(key: DirectoryKey): void {
    const pending = this.#pending.get(key)
    if (pending === undefined) return
    const { version, record, log } = pending
    const text = JSON.stringify(record)
    this.#run('INSERT OR REPLACE INTO versions VALUES (?, ?, ?)', key, version, Date.now())
    this.#run('INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)', key, record.state, text, log)
    this.#countLog(key, log.length + Buffer.byteLength(text))
  }

  /** The last run was another program's: only its version number counts. */
  #forgetRun(key: DirectoryKey): void {
    const pending = this.#pending.get(key)
    if (pending === undefined) return
    this.#pending.delete(key)
    this.#run('INSERT OR REPLACE INTO versions VALUES (?, ?, ?)', key, pending.version, Date.now())
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #get(sql: string, ...values: (string | number | null | Uint8Array)[]) {
    return this.#prepare(sql).get(...values)
  }

  #run(sql: string, ...values: (string | number | null | Uint8Array)[]): void {
    guarded(this.#db.location() ?? '', () => this.#prepare(sql).run(...values))
  }

  #transaction(work: () => void): void {
    guarded(this.#db.location() ?? '', () => {
      this.#db.exec('BEGIN IMMEDIATE')
      try {
        work()
        this.#db.exec('COMMIT')
      } catch (error) {
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
        throw error
      }
    })
  }
}
