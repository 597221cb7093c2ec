/** Bytes, attributes and extended attributes on a real mount, with kernel passthrough and without. */
import * as fs from 'node:fs/promises'
import { constants } from 'node:fs'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { errnoOf } from '../../src/errors.ts'
import { mountSuite, run } from '../support/mount-suite.ts'
import type { ScratchMountOptions } from '../support/scratch-mount.ts'

const test = mountSuite('data on a mount')

const kinds: Record<string, ScratchMountOptions> = {
  'shared, passthrough': {},
  'exclusive, passthrough': { exclusive: true },
  'shared, by threads': { passthrough: false },
  'exclusive, by threads': { passthrough: false, exclusive: true },
}

for (const [kind, options] of Object.entries(kinds)) {
  test(
    `${kind}: what is written is there at once, with its size and times`,
    async ({ backing, mountPoint }) => {
      const file = path.join(mountPoint, 'file')
      const data = Buffer.alloc(3 * 1024 * 1024 + 17, 'insitu ')
      await fs.writeFile(file, data)
      for (const place of [file, path.join(backing, 'file')]) {
        assert.is((await fs.stat(place)).size, data.length)
        assert.ok((await fs.readFile(place)).equals(data))
      }
      await fs.utimes(file, 1, 2)
      assert.is((await fs.stat(file)).mtimeMs, 2000)
      await using handle = await fs.open(file, 'r+')
      await handle.write('x', 5)
      assert.ok((await fs.stat(file)).mtimeMs > 2000, 'a write moves the time')
      await handle.truncate(3)
      assert.is((await handle.stat()).size, 3)
      assert.is(await fs.readFile(path.join(backing, 'file'), 'utf8'), 'ins')
    },
    options,
  )

  test(
    `${kind}: appenders never overwrite each other`,
    async ({ backing, mountPoint }) => {
      const file = path.join(mountPoint, 'log')
      const line = (who: number) => `${who}`.repeat(99) + '\n'
      const one = `for i in $(seq 100); do printf '%s\\n' "$0" >> "$1"; done`
      await Promise.all([1, 2, 3].map((who) => run('sh', ['-c', one, line(who).trim(), file])))
      const lines = (await fs.readFile(path.join(backing, 'log'), 'utf8')).split('\n').slice(0, -1)
      assert.is(lines.length, 300)
      assert.ok(lines.every((text) => /^(1{99}|2{99}|3{99})$/.test(text)))
    },
    options,
  )

  test(
    `${kind}: open again and again, in all ways at once`,
    async ({ mountPoint }) => {
      // The kernel refuses some mixtures of opens of one inode; the server must never ask for one.
      const file = path.join(mountPoint, 'file')
      await fs.writeFile(file, 'x'.repeat(10_000))
      const flags = ['r', 'r+', 'a', 'a+', 'w', 'w+']
      await Promise.all(
        Array.from({ length: 8 }, async (_, who) => {
          for (let i = 0; i < 60; i += 1) {
            await using handle = await fs.open(file, flags[(i * 7 + who) % flags.length])
            if ((i + who) % 3 === 0) await handle.appendFile('y').catch(ignoreBadDescriptor)
            await handle.read(Buffer.alloc(100), 0, 100, 0).catch(ignoreBadDescriptor)
          }
        }),
      )
    },
    options,
  )
}

test('a mapped store reaches the backing file, and moves its time', async (mount) => {
  const script = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
os.utime(fd, (1, 1))
m = mmap.mmap(fd, 0)
os.close(fd)
m[0:4] = b'MMAP'
m.flush()
print(int(os.stat(sys.argv[1]).st_mtime > 1), open(sys.argv[2], 'rb').read(4))
`
  const file = path.join(mount.mountPoint, 'file')
  await fs.writeFile(file, 'before it was mapped')
  const done = await run('python3', ['-c', script, file, path.join(mount.backing, 'file')])
  assert.is(done.stdout, "1 b'MMAP'\n", done.stderr)
})

test('holes, ranges and copies', async ({ backing, mountPoint }) => {
  const file = path.join(mountPoint, 'sparse')
  await run('truncate', ['-s', '1M', file])
  await fs.appendFile(file, 'end')
  const script = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print(os.lseek(fd, 0, os.SEEK_DATA) >= 1 << 19, os.lseek(fd, 0, os.SEEK_HOLE))
out = os.open(sys.argv[1] + '2', os.O_RDWR | os.O_CREAT)
print(os.copy_file_range(fd, out, 3, 1 << 20, 10))
os.posix_fallocate(fd, 0, 1 << 21)
print(os.fstat(fd).st_size)
os.fsync(fd); os.fdatasync(fd)
`
  const done = await run('python3', ['-c', script, file])
  assert.is(done.stdout, `True 0\n3\n${1 << 21}\n`, done.stderr)
  const copy = await fs.readFile(path.join(backing, 'sparse2'))
  assert.is(copy.length, 13)
  assert.is(copy.toString('utf8', 10), 'end')
})

test('O_TMPFILE: no name until it is linked', async ({ backing, mountPoint }) => {
  const script = `
import os, subprocess, sys
fd = os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(fd, b'later')
print(os.listdir(sys.argv[1]))
link = ['ln', '-L', '/proc/self/fd/%d' % fd, sys.argv[1] + '/named']
subprocess.run(link, pass_fds=[fd], check=True)
`
  const done = await run('python3', ['-c', script, mountPoint])
  assert.is(done.stdout, '[]\n', done.stderr)
  assert.is(await fs.readFile(path.join(backing, 'named'), 'utf8'), 'later')
})

test('extended attributes and ACLs are the backing’s own', async ({ backing, mountPoint }) => {
  const script = `
import os, sys
os.setxattr(sys.argv[1], b'user.colour', b'b\\x00lue')
print(os.getxattr(sys.argv[2], b'user.colour'), os.listxattr(sys.argv[1]))
os.removexattr(sys.argv[1], b'user.colour')
try: os.getxattr(sys.argv[1], b'user.colour')
except OSError as e: print(e.errno)
os.setxattr(sys.argv[1], b'user.big', b'x' * 2000)
print(len(os.getxattr(sys.argv[2], b'user.big')))
`
  await fs.writeFile(path.join(mountPoint, 'file'), '')
  const files = [path.join(mountPoint, 'file'), path.join(backing, 'file')]
  const done = await run('python3', ['-c', script, ...files])
  assert.is(done.stdout, "b'b\\x00lue' ['user.colour']\n61\n2000\n", done.stderr)
})

test('immutable files refuse to be opened for writing', async ({ backing, mountPoint }) => {
  const file = path.join(mountPoint, 'file')
  await fs.writeFile(file, 'x')
  const locked = await run('chattr', ['+i', path.join(backing, 'file')])
  if (locked.code !== 0) return
  try {
    const error = await fs.open(file, constants.O_WRONLY).catch((thrown: unknown) => thrown)
    assert.is(errnoOf(error), 'EPERM')
  } finally {
    await run('chattr', ['-i', path.join(backing, 'file')])
  }
})

test('names of trusted attributes are listed to root only', async ({
  backing,
  mountPoint,
  scratch,
}) => {
  if (process.getuid?.() !== 0) return
  await fs.chmod(scratch, 0o755)
  await fs.writeFile(path.join(backing, 'f'), '')
  const script = `
import os, sys
os.setxattr(sys.argv[1], b'trusted.insitu', b'x')
os.setxattr(sys.argv[1], b'user.colour', b'x')
print(sorted(os.listxattr(sys.argv[2])))
os.setgid(61002); os.setuid(61002)
print(os.listxattr(sys.argv[2]))
`
  const files = [path.join(backing, 'f'), path.join(mountPoint, 'f')]
  const { stdout, stderr } = await run('python3', ['-c', script, ...files])
  assert.is(stdout + stderr, "['trusted.insitu', 'user.colour']\n['user.colour']\n")
})

test.run()

/** A descriptor that is open the other way. */
function ignoreBadDescriptor(error: unknown): void {
  assert.is(errnoOf(error), 'EBADF')
}
