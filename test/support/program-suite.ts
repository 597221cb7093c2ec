/** Real programs, as shell scripts in an empty directory of a mount. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { missingTools } from './long.ts'
import { scratchMount, whyNoFuse } from './scratch-mount.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

export interface ProgramOptions {
  /** Debian's packages of what it needs, where they are named otherwise. */
  readonly packages?: readonly string[]
  readonly timeoutMs?: number
}

export interface ProgramSuite {
  (name: string, needs: readonly string[], script: string, options?: ProgramOptions): void
  skip(name: string, why: string): void
  run(): void
}

/** A suite of programs, each a test with a mount of its own; visible when skipped. In the script,
 * $SAMPLE has files to work on, $PLAIN is a plain directory, $ROOT this project. */
export function programSuite(title: string): ProgramSuite {
  const test = suite(title)
  const noFuse = whyNoFuse()
  const skip = (name: string, why: string): void => {
    console.log(`SKIP ${name}: ${why}`)
    test(`${name} (skipped)`, () => undefined)
  }
  const add = (
    name: string,
    needs: readonly string[],
    script: string,
    options: ProgramOptions = {},
  ): void => {
    const missing = noFuse === undefined ? missingTools(needs, options.packages ?? needs) : []
    const reason = noFuse ?? (missing.length > 0 ? `no ${missing.join(', ')} here` : undefined)
    if (reason !== undefined) skip(name, reason)
    else test(name, () => onMount(script, options.timeoutMs ?? 120_000))
  }
  return Object.assign(add, { skip, run: () => test.run() })
}

async function onMount(script: string, timeoutMs: number): Promise<void> {
  await using mount = await scratchMount()
  const plain = path.join(mount.scratch, 'plain')
  mkdirSync(plain)
  // Files to work on: this project's own, as they are.
  const sample = path.join(mount.scratch, 'sample')
  for (const folder of ['src', 'native/file-server', 'docs'])
    cpSync(path.join(root, folder), path.join(sample, folder), { recursive: true })
  try {
    await run('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: mount.mountPoint,
      env: {
        ...process.env,
        SAMPLE: sample,
        PLAIN: plain,
        ROOT: root,
        GIT_CONFIG_GLOBAL: '/dev/null',
      },
      timeout: timeoutMs,
      maxBuffer: 16 * 1024 * 1024,
    })
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    assert.unreachable(`${String(error)}\n${stdout ?? ''}\n${stderr ?? ''}`)
  }
}
