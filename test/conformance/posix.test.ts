/**
 * The POSIX table over a plain directory and over mounts of one: what a program sees must be the
 * same. The oracle is the backing filesystem itself.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { globSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { FILE_SERVER } from '../support/file-server.ts'
import { POSIX_LIMITS } from '../support/fuse-native-limits.ts'
import { type ScratchMountOptions, scratchMount, whyNoFuse } from '../support/scratch-mount.ts'

const test = suite('POSIX table')
const sources = fileURLToPath(new URL('posix-table', import.meta.url))

/** What the kernel refuses on every FUSE mount before it asks the file server. */
const kernelLimits = new Set(['fallocate: collapse, insert'])

const fallback = FILE_SERVER === 'fuse-native'
const mounts: Record<string, ScratchMountOptions> = fallback
  ? { 'a mount over fuse-native': {} }
  : {
      'a shared mount': {},
      'an exclusive mount': { exclusive: true },
      'a mount without passthrough': { passthrough: false },
      'a mount over tmpfs': { below: '/dev/shm' },
    }
const limits = fallback ? new Set(Object.keys(POSIX_LIMITS)) : kernelLimits

const reason = whyNoFuse()
if (reason !== undefined) {
  console.log(`SKIP the POSIX table: ${reason}`)
  test('is skipped', () => undefined)
} else if (process.getuid?.() !== 0) {
  console.log('SKIP the POSIX table: it switches users and so needs root')
  test('is skipped', () => undefined)
} else {
  const folder = mkdtempSync(path.join(tmpdir(), 'insitu-table-'))
  const program = path.join(folder, 'posix-table')
  test.before(() => {
    execFileSync('g++', [
      '-std=c++20',
      '-D_GNU_SOURCE',
      '-O1',
      '-Wno-unused-result',
      ...globSync('*.cc', { cwd: sources }).map((file) => path.join(sources, file)),
      '-o',
      program,
    ])
  })
  test.after(() => rmSync(folder, { recursive: true, force: true }))

  for (const [name, options] of Object.entries(mounts)) {
    test(`agrees on ${name}`, async () => {
      await using mount = await scratchMount(options)
      const plain = path.join(mount.scratch, 'plain')
      mkdirSync(plain)
      const expected = transcript(program, plain)
      const seen = transcript(program, mount.mountPoint)
      const wrong = [...expected].filter(
        ([title, lines]) => seen.get(title) !== lines && !limits.has(title),
      )
      const mended = [...limits].filter((title) => seen.get(title) === expected.get(title))
      for (const [title, lines] of wrong) {
        console.log(`--- ${title}\n${difference(lines, seen.get(title) ?? '(missing)')}`)
      }
      assert.ok(expected.size > 70, 'the table has its cases')
      assert.equal(
        wrong.map(([title]) => title),
        [],
      )
      if (fallback) assert.equal(mended, [], 'works over fuse-native: take it from the list')
    })
  }
}

test.run()

/** What each case wrote, by its title. */
function transcript(program: string, directory: string): Map<string, string> {
  const output = execFileSync(program, [directory], { encoding: 'latin1', timeout: 120_000 })
  const cases = output.split(/^=== /m).slice(1)
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
