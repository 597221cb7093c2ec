import { mkdir } from 'node:fs/promises'
import path from 'node:path'

/**
 * As `mkdir -p`. Node's own `recursive` never ends below /proc and its like, where making a directory
 * gives ENOENT although its parent is there.
 */
export async function makeDirectories(directory: string, mode = 0o777): Promise<void> {
  const missing: string[] = []
  for (let each = path.resolve(directory); !(await make(each, mode)); each = path.dirname(each)) {
    if (each === path.dirname(each)) break
    missing.push(each)
  }
  for (const each of missing.toReversed()) {
    if (!(await make(each, mode)))
      throw Object.assign(new Error(`${each} cannot be made`), { code: 'ENOENT' })
  }
}

/** False: its parent has to be made first. What is there already and no directory is ENOTDIR later. */
async function make(directory: string, mode: number): Promise<boolean> {
  try {
    await mkdir(directory, { mode })
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return false
    if (code === 'EEXIST') return true
    throw error
  }
}
