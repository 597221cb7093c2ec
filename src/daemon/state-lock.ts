/**
 * One daemon for each state directory: two that share one would publish over each other.
 *
 * The lock is SQLite's on an empty database, so that the kernel gives it up however the process ends
 * and no stale lock file has to be judged.
 */
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export class StateInUse extends Error {
  override readonly name = 'StateInUse'
}

/** Returns the function that unlocks. */
export function lockState(directory: string): () => void {
  const database = new DatabaseSync(path.join(directory, 'lock'), { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    if (!isBusy(cause)) throw cause
    throw new StateInUse(`the state directory ${directory} is in use by another insitu`, { cause })
  }
  return () => database.close()
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5
}
