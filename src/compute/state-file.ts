/** How the SQLite file of a state is opened, and what its errors mean to a caller. */
import { DatabaseSync } from 'node:sqlite'
import { VfsError } from '../errors.ts'

/** Who reads holds up nobody but at the start, after a crash. */
const BUSY_TIMEOUT_MS = 250
const SQLITE_BUSY = 5
const SQLITE_IOERR = 10
const SQLITE_FULL = 13

/** Where memory cannot be shared, as on some network filesystems, nobody else can read it meanwhile. */
export function openStateFile(file: string): DatabaseSync {
  try {
    return openedAs('NORMAL', file)
  } catch (error) {
    const { errcode = 0 } = error as { errcode?: number }
    if ((errcode & 0xff) !== SQLITE_IOERR) throw error
    return openedAs('EXCLUSIVE', file)
  }
}

function openedAs(locking: 'NORMAL' | 'EXCLUSIVE', file: string): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS })
  try {
    db.exec(
      `PRAGMA locking_mode = ${locking};
       PRAGMA journal_mode = WAL;
       PRAGMA synchronous = NORMAL;
       PRAGMA journal_size_limit = 8388608;
       CREATE TABLE IF NOT EXISTS migrations (
         version INTEGER PRIMARY KEY, applied_at_ms INTEGER NOT NULL
       ) STRICT;`,
    )
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** SQLite's errors as what a caller can act on. */
export function guarded<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof VfsError) throw error
    const { errcode, message } = error as { errcode?: number; message: string }
    if (errcode === SQLITE_BUSY)
      throw new VfsError(
        'EBUSY',
        `${file} is in use by another process; end it, or choose another --state`,
        { cause: error },
      )
    if (errcode === SQLITE_FULL)
      throw new VfsError('ENOSPC', `there is no space left for ${file}; free some`, {
        cause: error,
      })
    throw new VfsError('EIO', `cannot use ${file}: ${message}`, { cause: error })
  }
}
