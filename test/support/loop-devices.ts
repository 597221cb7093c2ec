/** Whether this machine has loop devices and what makes filesystems, and what of a folder is on them. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** False, with a visible word, where images cannot be had; fails there under REQUIRE_LOOP=1. */
export function haveLoopDevices(...tools: string[]): boolean {
  const wanted = ['losetup', 'fallocate', 'fsfreeze', ...tools]
  const missing =
    process.getuid?.() !== 0
      ? 'root'
      : (wanted.find((tool) => spawnSync('which', [tool]).status !== 0) ??
        (spawnSync('losetup', ['--find']).status === 0 ? undefined : 'a loop device'))
  if (missing === undefined) return true
  console.log(`SKIP volumes that are images: need ${missing}`)
  if (process.env['REQUIRE_LOOP'] === '1') throw new Error(`images need ${missing}`)
  return false
}

/** Files below the folder that loop devices have open, deleted ones too. */
export function loopFiles(folder: string): string[] {
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .flatMap((name) => {
      try {
        return [readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trim()]
      } catch {
        return [] // has none
      }
    })
    .filter((file) => file.startsWith(`${folder}/`))
    .toSorted()
}

/** Mount points below the folder, innermost first. */
export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${folder}/`))
    .toReversed()
}

export function unmountBelow(folder: string): void {
  for (const point of mountsBelow(folder)) {
    spawnSync('fsfreeze', ['--unfreeze', point], { stdio: 'ignore' })
    spawnSync('umount', ['-l', point], { stdio: 'ignore' })
  }
}

export function command(program: string, ...words: string[]): string {
  return execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
