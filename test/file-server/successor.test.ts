/** A session's state goes over to another one (successor/main.cc, which says what must hold). */
import { execFileSync, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const test = suite('successor')
const native = fileURLToPath(new URL('../../native', import.meta.url))

/** What of the addon needs no Node. */
const library = path.join(native, 'build/Release/obj.target/files.a')

function build(program: string): void {
  const flags = ['-std=c++20', '-Wall', '-Wextra', '-Werror', '-Wno-missing-field-initializers']
  // In a copy that scripts/test-sanitized made.
  const [, kind] = /build-(asan|address|undefined|thread)\//.exec(native) ?? []
  if (kind !== undefined) flags.push(`-fsanitize=${kind === 'asan' ? 'address' : kind}`)
  const main = path.join(native, '../test/file-server/successor/main.cc')
  execFileSync('g++', [...flags, '-I', native, main, library, '-pthread', '-o', program], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
}

/** An overlay, which has no file handles, on a filesystem of its own. */
function overlay(work: string): string {
  execFileSync('mount', ['-t', 'tmpfs', 'insitu-test', work])
  for (const part of ['lower', 'upper', 'work', 'merged']) fs.mkdirSync(path.join(work, part))
  const layers = ['lower', 'upper', 'work'].map((part) => `${part}dir=${path.join(work, part)}`)
  const merged = path.join(work, 'merged')
  execFileSync('mount', ['-t', 'overlay', '-o', layers.join(), 'insitu-test', merged])
  return merged
}

test('nodes, handles and grafts go on in another session, with file handles and without', () => {
  if (process.getuid?.() !== 0) {
    console.log('SKIP needs root to mount and to open by handle')
    return
  }
  const scratch = fs.mkdtempSync(path.join(tmpdir(), 'insitu-successor-'))
  const [plain, layered] = [path.join(scratch, 'plain'), path.join(scratch, 'layered')]
  fs.mkdirSync(plain)
  fs.mkdirSync(layered)
  const program = path.join(scratch, 'successor')
  try {
    build(program)
    for (const folder of [plain, overlay(layered)]) {
      // Few descriptors, so that most inodes have none when they are handed over.
      const done = spawnSync('prlimit', ['--nofile=400', program, folder], {
        encoding: 'utf8',
        timeout: 60_000,
      })
      assert.is(done.stdout + done.stderr, 'successor: fine\n', folder)
    }
  } finally {
    for (const mounted of [path.join(layered, 'merged'), layered])
      spawnSync('umount', ['-l', mounted])
    fs.rmSync(scratch, { recursive: true, force: true })
  }
})

test.run()
