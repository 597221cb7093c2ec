/** A suite whose every test gets a mount of its own, and that says so where mounts cannot be had. */
import { execFile } from 'node:child_process'
import { suite } from 'uvu'

import { withLimits } from './file-server.ts'
import { preloadedEnvironment } from './preload.ts'
import {
  type ScratchMount,
  type ScratchMountOptions,
  scratchMount,
  whyNoFuse,
} from './scratch-mount.ts'

export interface MountSuite {
  (name: string, body: (mount: ScratchMount) => Promise<void>, options?: ScratchMountOptions): void
  run(): void
}

export function mountSuite(title: string): MountSuite {
  const test = suite(title)
  const reason = whyNoFuse()
  if (reason !== undefined) {
    console.log(`SKIP ${title}: ${reason}`)
    test('is skipped', () => undefined)
  }
  const add = (
    name: string,
    body: (mount: ScratchMount) => Promise<void>,
    options: ScratchMountOptions = {},
  ): void => {
    if (reason !== undefined) return
    const run = async (): Promise<void> => {
      await using mount = await scratchMount(options)
      await body(mount)
    }
    test(name, withLimits(title, name, run))
  }
  return Object.assign(add, { run: () => test.run() })
}

const LONG = process.env['INSITU_LONG'] === '1'

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program with arguments, then `script` and the directory as `$1` if they are given. Never
 * through a shell of its own, and never longer than a minute, in long
 * tests a quarter of an hour. */
export function run(
  program: string,
  args: readonly string[],
  script?: string,
  directory?: string,
): Promise<Finished> {
  const all = script === undefined ? args : [...args, script, 'sh', directory ?? '.']
  return new Promise((resolve, reject) => {
    const env = program === process.execPath ? preloadedEnvironment() : process.env
    execFile(program, all, { timeout: LONG ? 900_000 : 60_000, env }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(error)
      else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}
