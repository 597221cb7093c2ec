import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'

/** A file system of its own with little room, for the time of `work`. Needs root. */
export async function onSmallDisk(
  sizeBytes: number,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  if (process.getuid?.() !== 0) {
    console.log('SKIP needs root to mount a small tmpfs')
    return
  }
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'insitu-small-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes},mode=0700`, 'small', folder])
    try {
      await work(folder)
    } finally {
      execFileSync('umount', ['-l', folder])
    }
  } finally {
    await fs.rmdir(folder)
  }
}
