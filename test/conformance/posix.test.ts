/**
 * The POSIX table over a plain directory and over mounts of one: what a program sees must be the
 * same. The oracle is the backing filesystem itself.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { FILE_SERVER } from '../support/file-server.ts'
import { POSIX_LIMITS } from '../support/fuse-native-limits.ts'
import { type BackingKind, onBacking, whyNoBacking } from '../support/backing-kinds.ts'
import { Compiled } from '../support/compiled.ts'
import { long } from '../support/long.ts'
import { type ScratchMountOptions, scratchMount, whyNoFuse } from '../support/scratch-mount.ts'

const test = suite('POSIX table')
const sources = fileURLToPath(new URL('posix-table', import.meta.url))
const run = promisify(execFile)

/** What the kernel refuses on every FUSE mount before it asks the file server. */
const kernelLimits = new Set(['fallocate: collapse, insert'])

/** Without passthrough a file that is open for reading and writing may be mapped, so has no holes. */
const withoutPassthrough = new Set([...kernelLimits, 'lseek: ends, holes, data'])

/** There a mapped store moves no times, but through the mount it does. */
const overTmpfs = new Set([
  ...withoutPassthrough,
  'times and sizes: after mapped stores, for others too',
])

/** The matrix of all calls on all kinds of paths takes its time: once in a short run. */
type Mount = ScratchMountOptions & { readonly matrix: boolean }
const nativeMounts: Record<string, Mount> = {
  'a shared mount': { matrix: true },
  'an exclusive mount': { exclusive: true, matrix: long },
  'a mount without passthrough': { passthrough: false, matrix: long },
  'a mount that shares its backing': { sharedBacking: true, matrix: long },
  // Which has no passthrough.
  'a mount over tmpfs': { below: '/dev/shm', passthrough: false, matrix: long },
}
const fallback = FILE_SERVER === 'fuse-native'
const mounts = fallback ? { 'a mount over fuse-native': { matrix: false } } : nativeMounts

function limitsOf(options: ScratchMountOptions): ReadonlySet<string> {
  if (fallback) return new Set(Object.keys(POSIX_LIMITS))
  if (options.below === '/dev/shm') return overTmpfs
  return options.passthrough === false ? withoutPassthrough : kernelLimits
}

const reason = whyNoFuse()
if (reason !== undefined) {
  console.log(`SKIP the POSIX table: ${reason}`)
  test('is skipped', () => undefined)
} else if (process.getuid?.() !== 0) {
  console.log('SKIP the POSIX table: it switches users and so needs root')
  test('is skipped', () => undefined)
} else {
  const compiled = new Compiled()
  let program = ''
  test.before(() => void (program = compiled.build(sources)))
  test.after(() => compiled.remove())

  for (const [name, options] of Object.entries(mounts))
    test(`agrees on ${name}`, () => agrees(options, options.matrix))

  for (const kind of ['xfs', 'overlay', 'nfs'] as const) {
    const obstacle =
      long && !fallback ? whyNoBacking(kind) : 'only in a long run of the native server'
    if (obstacle !== undefined) console.log(`SKIP the POSIX table over ${kind}: ${obstacle}`)
    else test(`agrees on mounts over ${kind}`, () => agreesOn(kind))
  }

  const agreesOn = (kind: BackingKind): Promise<void> =>
    onBacking(kind, async (below) => {
      await agrees({ below }, true)
      await agrees({ below, passthrough: false }, false)
    })

  const agrees = async (options: ScratchMountOptions, matrix: boolean): Promise<void> => {
    await using mount = await scratchMount(options)
    const plain = path.join(mount.scratch, 'plain')
    mkdirSync(plain)
    const wrong: string[] = []
    const limits = limitsOf(options)
    const expected = await transcript(program, plain, matrix)
    rmSync(plain, { recursive: true, force: true })
    const seen = await transcript(program, mount.mountPoint, matrix)
    for (const [title, lines] of expected) {
      if (seen.get(title) === lines || limits.has(title)) continue
      console.log(`--- ${title}\n${difference(lines, seen.get(title) ?? '(missing)')}`)
      wrong.push(title)
    }
    assert.ok(expected.size > (matrix ? 130 : 80), 'the table has its cases')
    assert.equal(wrong, [])
  }
}

test.run()

/** What each case wrote, by its title. */
async function transcript(
  program: string,
  directory: string,
  matrix: boolean,
): Promise<Map<string, string>> {
  const args = matrix ? [directory] : [directory, '', 'matrix']
  const { stdout } = await run(program, args, {
    encoding: 'latin1',
    timeout: 900_000,
    maxBuffer: 64 * 1024 * 1024,
  })
  const cases = stdout.split(/^=== /m).slice(1)
  return new Map(
    cases.map((text) => [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1)]),
  )
}

function difference(expected: string, seen: string): string {
  const left = expected.split('\n')
  const right = seen.split('\n')
  const lines: string[] = []
  for (let i = 0; i < Math.max(left.length, right.length); i += 1) {
    if (left[i] !== right[i])
      lines.push(`  backing: ${left[i] ?? ''}`, `  mount:   ${right[i] ?? ''}`)
  }
  return lines.join('\n')
}
