/**
 * Each operation with the Nth call to the backing filesystem failing, for every N: the caller gets
 * an error or what he asked for; the mount lives, shows what the backing has, and does the next
 * operation as if nothing had been.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { errnoOf } from '../../src/errors.ts'
import { FailingCalls } from '../support/failing-calls.ts'
import { scratchMount, whyNoFuse } from '../support/scratch-mount.ts'

const test = suite('the Nth call fails')

/** In a directory with the file `file`, the directory `sub` and the symlink `link`. */
const operations: Readonly<Record<string, (at: (name: string) => string) => void>> = {
  'create and write': (at) => fs.writeFileSync(at('new'), 'some bytes'),
  'write over': (at) => fs.writeFileSync(at('file'), 'other'),
  append: (at) => fs.appendFileSync(at('file'), ' more'),
  read: (at) => void fs.readFileSync(at('file')),
  stat: (at) => void fs.statSync(at('file')),
  mkdir: (at) => fs.mkdirSync(at('made')),
  mknod: (at) => program('mkfifo', at('fifo')),
  symlink: (at) => fs.symlinkSync('file', at('symlink')),
  readlink: (at) => void fs.readlinkSync(at('link')),
  link: (at) => fs.linkSync(at('file'), at('hard')),
  unlink: (at) => fs.unlinkSync(at('file')),
  rmdir: (at) => fs.rmdirSync(at('sub')),
  rename: (at) => fs.renameSync(at('file'), at('renamed')),
  'rename over': (at) => fs.renameSync(at('file'), at('link')),
  readdir: (at) => void fs.readdirSync(at('.')),
  'list with attributes': (at) =>
    void fs.readdirSync(at('.')).map((name) => fs.lstatSync(at(name))),
  chmod: (at) => fs.chmodSync(at('file'), 0o640),
  chown: (at) => fs.chownSync(at('file'), 1, 1),
  utimes: (at) => fs.utimesSync(at('file'), 1, 2),
  truncate: (at) => fs.truncateSync(at('file'), 2),
  'fsync a file': (at) => opened(at('file'), 'r+', (fd) => fs.fsyncSync(fd)),
  'fsync a directory': (at) => opened(at('.'), 'r', (fd) => fs.fsyncSync(fd)),
  statfs: (at) => void fs.statfsSync(at('.')),
  setxattr: (at) => program('setfattr', '-n', 'user.k', '-v', 'v', at('file')),
  listxattr: (at) => program('getfattr', '-d', at('file')),
  'fallocate and lseek': (at) => program('fallocate', '--dig-holes', at('file')),
}

function opened(file: string, how: string, use: (fd: number) => void): void {
  const fd = fs.openSync(file, how)
  try {
    use(fd)
  } finally {
    fs.closeSync(fd)
  }
}

function program(name: string, ...args: readonly string[]): void {
  execFileSync(name, args, { stdio: 'ignore' })
}

function populate(directory: string): void {
  fs.mkdirSync(directory)
  fs.writeFileSync(path.join(directory, 'file'), 'hello')
  fs.mkdirSync(path.join(directory, 'sub'))
  fs.symlinkSync('file', path.join(directory, 'link'))
}

/** All that can be seen of a tree. */
function seen(directory: string, names: readonly string[]): string[] {
  // Looked at before they are listed: a listing would bring the kernel's knowledge up to date.
  const files = names.map((name) => {
    const file = path.join(directory, name)
    const { mode, size, nlink, uid, mtimeMs, ctimeMs } = fs.lstatSync(file)
    const kind = mode & fs.constants.S_IFMT
    const content =
      kind === fs.constants.S_IFREG
        ? fs.readFileSync(file, 'utf8')
        : kind === fs.constants.S_IFLNK
          ? fs.readlinkSync(file)
          : ''
    return JSON.stringify({ name, mode, size, nlink, uid, mtimeMs, ctimeMs, content })
  })
  return [...files, ...fs.readdirSync(directory)]
}

async function waitFor(look: () => string, wanted: string): Promise<string> {
  for (let tries = 50; ; tries -= 1) {
    let found: string
    try {
      found = look()
    } catch (error) {
      found = String(error)
    }
    if (found === wanted || tries === 0) return found
    await sleep(20)
  }
}

/** More calls than any of them makes. */
const BOUND = 60

async function everyCall(mountOptions: {
  exclusive: boolean
  passthrough: boolean
}): Promise<void> {
  using faults = new FailingCalls()
  await using mount = await scratchMount({ ...mountOptions, preload: [faults.library] })
  const other = path.join(mount.mountPoint, 'other')
  fs.writeFileSync(other, 'other')
  let failures = 0
  const wrong: string[] = []
  for (const [name, operation] of Object.entries(operations)) {
    for (let at = 1; ; at += 1) {
      assert.ok(at < BOUND, `${name} makes no end of calls`)
      const directory = `${name} ${at}`
      populate(path.join(mount.backing, directory))
      const inMount = path.join(mount.mountPoint, directory)
      const what = `${name}, call ${at}`
      // Finding the way there is the same for all.
      fs.statSync(inMount)
      faults.arm(at)
      let error: unknown
      try {
        operation((file) => path.join(inMount, file))
      } catch (caught) {
        error = caught
      }
      const calls = faults.disarm()
      // A program that was started says so by its exit code.
      if (error !== undefined && !(error instanceof Error && 'status' in error))
        if (errnoOf(error) !== 'EIO') wrong.push(`${what}: ${errnoOf(error)}`)
      if (error !== undefined) failures += 1
      assert.is(mount.child.exitCode, null, `${what}: the server lives`)
      const names = fs.readdirSync(path.join(mount.backing, directory))
      const there = String(seen(path.join(mount.backing, directory), names))
      // What the kernel believed is dropped right after the answer.
      const shown = await waitFor(() => String(seen(inMount, names)), there)
      if (shown !== there) wrong.push(`${what}: shows ${shown} instead of ${there}`)
      assert.is(fs.readFileSync(other, 'utf8'), 'other', what)
      fs.rmSync(inMount, { recursive: true })
      if (calls < at) {
        assert.is(error, undefined, `${name} with no failing call`)
        break
      }
    }
  }
  assert.equal(wrong, [])
  assert.ok(failures > 70, `${failures} operations failed`)
}

const reason = whyNoFuse()
if (reason !== undefined || process.getuid?.() !== 0) {
  console.log(`SKIP the Nth call fails: ${reason ?? 'needs root'}`)
  test('is skipped', () => undefined)
} else {
  for (const tool of ['setfattr', 'getfattr', 'fallocate', 'mkfifo'])
    execFileSync('sh', ['-c', `command -v ${tool}`])
  test('shared, by our threads', () => everyCall({ exclusive: false, passthrough: false }))
  if (process.env['INSITU_LONG'] === '1')
    test('exclusive, by our threads', () => everyCall({ exclusive: true, passthrough: false }))
  test('exclusive, by passthrough', () => everyCall({ exclusive: true, passthrough: true }))
}
test.run()
