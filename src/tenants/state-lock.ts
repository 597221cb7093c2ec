/**
 * One daemon for each state directory: two that share one would publish over each other.
 *
 * The lock is SQLite's on an empty database, so that the kernel gives it up however the process ends
 * and no stale lock file has to be judged.
 */
import { constants, existsSync, realpathSync } from 'node:fs'
import { lstat, mkdir, open } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'

const { O_CREAT, O_NOFOLLOW, O_RDWR } = constants

export class StateInUse extends Error {
  override readonly name = 'StateInUse'
}

/** SQLite makes its files as open as the umask allows; its journals are as the database is. */
const DATABASES = ['lock', 'programs.db']

/**
 * Makes the state directory, and refuses one that somebody else could change: programs run with the
 * rights that it names. Programs, logs and results are nobody else's to read, also where the directory
 * was there before and is open.
 */
export async function prepareState(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const info = await lstat(directory)
  if (!info.isDirectory() || info.uid !== process.getuid?.() || (info.mode & 0o022) !== 0)
    throw new Error(
      `the state directory ${directory} must be yours, and writable to you alone: chown and chmod it, or choose another --state`,
    )
  for (const name of DATABASES) {
    await using file = await open(path.join(directory, name), O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
    await file.chmod(0o600)
  }
}

/** Returns the function that unlocks. A tenant's part of a state is locked with the whole: a lock for each would
 * take memory for each. */
export function lockState(directory: string): () => void {
  const own = realpathSync(directory)
  const whole = path.resolve(own, '../../..')
  const isTenants = path.relative(whole, own).startsWith('tenants/')
  if (isTenants && existsSync(path.join(whole, 'broker.db')))
    throw new StateInUse(`the state directory ${directory} is in use by another insitu, "serve"`)
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
