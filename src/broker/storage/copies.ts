/**
 * Points in time, by the helper that holds them: `native/volumes`. Of an image while its filesystem is
 * frozen, of a directory when nothing in it changed while its blocks were shared.
 */
import { mkdir, rename, rm, lstat } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './commands.ts'

/** For so long writers may wait: for the copy of an image that shares no blocks, or of many files. */
export const HOLD_MS = 5_000
/** For so long a moment is sought in which nobody writes to a directory. */
const SEEK_MS = 20_000
/** The helper ends by itself before: whatever it froze thaws. */
const GRACE_MS = 60_000

const helper = fileURLToPath(
  new URL('../../../native/build/Release/point_in_time', import.meta.url),
)

/** `copy` is made. Gives a word on how; CommandError says why not. */
export async function copyImage(point: string, file: string, copy: string): Promise<string> {
  await rm(copy, { force: true })
  try {
    return await run(helper, ['image', point, file, copy, String(HOLD_MS)], HOLD_MS + GRACE_MS)
  } catch (error) {
    // The helper thaws; this is for one that was killed. EINVAL when it did.
    await run('fsfreeze', ['--unfreeze', point], GRACE_MS).catch(() => undefined)
    await rm(copy, { force: true })
    throw error
  }
}

/** As `copyImage`, of a tree; `copy` stands there whole or not at all. */
export async function copyTree(source: string, copy: string): Promise<string> {
  const draft = draftOf(copy)
  await rm(draft, { recursive: true, force: true })
  try {
    const how = await run(helper, ['directory', source, draft, String(SEEK_MS)], SEEK_MS + GRACE_MS)
    await rename(draft, copy)
    return how
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    throw error
  }
}

export async function removeCopy(copy: string): Promise<void> {
  await rm(draftOf(copy), { recursive: true, force: true })
  await rm(copy, { recursive: true, force: true })
}

/** Why nobody else may not be kept from changing what lies in it; undefined: it is fit. */
export async function faultOfFolder(folder: string): Promise<string | undefined> {
  const info = await lstat(folder).catch(() => undefined)
  if (info === undefined || !info.isDirectory()) return `${folder} is no directory`
  if (info.uid !== process.getuid?.() || (info.mode & 0o022) !== 0)
    return `${folder} must be ours, and writable to nobody else`
  return undefined
}

export async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
}

function draftOf(copy: string): string {
  return path.join(path.dirname(copy), `.${path.basename(copy)}.making`)
}
