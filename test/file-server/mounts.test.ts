/** The mount itself: how it comes, what it says of itself, and how it goes. */
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { mountSuite, run } from '../support/mount-suite.ts'

const test = mountSuite('mounts')

test('is nosuid and nodev, and names its backing directory', async ({ backing, mountPoint }) => {
  const line = (await fs.readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .find((text) => text.split(' ')[1] === mountPoint)
  assert.match(line ?? '', /fuse\.insitu/)
  assert.is(line?.split(' ')[0], backing)
  for (const option of ['nosuid', 'nodev', 'default_permissions', 'allow_other'])
    assert.ok(line?.split(' ')[3]?.split(',').includes(option), option)
})

test('reports the space of the backing filesystem', async ({ backing, mountPoint }) => {
  const [here, there] = [await fs.statfs(mountPoint), await fs.statfs(backing)]
  assert.is(here.blocks, there.blocks)
  assert.is(here.bsize, there.bsize)
  assert.is(here.files, there.files)
})

test('goes while files are open and programs stand in it', async (mount) => {
  await fs.writeFile(path.join(mount.mountPoint, 'file'), 'data')
  const handle = await fs.open(path.join(mount.mountPoint, 'file'), 'r+')
  await mount.close()
  // The connection is gone, so what still is open answers with an error instead of waiting.
  await handle.stat().then(
    () => undefined,
    () => undefined,
  )
  await handle.close().catch(() => undefined)
  const left = await fs.readFile('/proc/self/mounts', 'utf8')
  assert.not.match(left, new RegExp(`${mount.mountPoint} `))
})

test('ends by itself when somebody else unmounts it', async (mount) => {
  const ended = new Promise((resolve) => mount.child.once('exit', resolve))
  assert.is((await run('umount', [mount.mountPoint])).code, 0)
  await ended
})

test('takes away its own mount only, whatever stands in its place', async (mount) => {
  if (process.getuid?.() !== 0) return
  const { scratch, child } = mount
  const [moved, victim] = [`${scratch}-moved`, `${scratch}-victim`]
  await fs.mkdir(path.join(victim, 'mount'), { recursive: true })
  assert.is((await run('mount', ['-t', 'tmpfs', 'victim', path.join(victim, 'mount')])).code, 0)
  const exited = new Promise((resolve) => child.once('exit', resolve))
  let table = ''
  try {
    // As whoever owns the folder above may do.
    await fs.rename(scratch, moved)
    await fs.symlink(victim, scratch)
    child.stdin?.end()
    await exited
    table = await fs.readFile('/proc/self/mountinfo', 'utf8')
  } finally {
    await fs.rm(scratch, { force: true })
    await run('umount', ['-l', path.join(victim, 'mount')])
    await run('umount', ['-l', path.join(moved, 'mount')])
    await fs.rename(moved, scratch)
    await fs.rm(victim, { recursive: true })
  }
  assert.match(table, `${victim}/mount`)
  assert.not.match(table, `${moved}/mount`)
})

test('is not mounted through a link', async (mount) => {
  const link = path.join(mount.scratch, 'link')
  await fs.mkdir(path.join(mount.scratch, 'elsewhere', 'mount'), { recursive: true })
  await fs.symlink(path.join(mount.scratch, 'elsewhere'), link)
  const { code, stderr } = await run(process.execPath, [
    new URL('../support/serve-mount.ts', import.meta.url).pathname,
    mount.backing,
    path.join(link, 'mount'),
  ])
  await run('umount', ['-l', path.join(mount.scratch, 'elsewhere', 'mount')])
  assert.is.not(code, 0)
  assert.match(stderr, /ELOOP|symbolic links/)
})

test('another filesystem below is served with inode numbers of its own', async (mount) => {
  if (process.getuid?.() !== 0) return
  const below = path.join(mount.backing, 'below')
  await fs.mkdir(below)
  assert.is((await run('mount', ['-t', 'tmpfs', 'insitu-test', below])).code, 0)
  try {
    await fs.writeFile(path.join(mount.mountPoint, 'below', 'file'), 'over there')
    assert.is(await fs.readFile(path.join(below, 'file'), 'utf8'), 'over there')
    const [root, inner] = [
      await fs.stat(mount.mountPoint, { bigint: true }),
      await fs.stat(path.join(mount.mountPoint, 'below', 'file'), { bigint: true }),
    ]
    assert.is(root.dev, inner.dev)
    assert.is.not(inner.ino, (await fs.stat(path.join(below, 'file'), { bigint: true })).ino)
  } finally {
    // The server holds what it knows of it open.
    await run('umount', ['-l', below])
  }
})

test('a mount point that is none, or not there, is refused with the reason', async (mount) => {
  const { startNative } = await import('../../src/file-server/native-mount.ts')
  const options = {
    exclusive: false,
    allowOther: false,
    listReserved: false,
    sharedBacking: false,
    passthrough: true,
  }
  const attempt = async (backing: string, mountPoint: string): Promise<string | undefined> =>
    startNative({ ...options, backing, mountPoint }, () => undefined).then(
      () => undefined,
      (error: { code?: string }) => error.code,
    )
  const absent = path.join(mount.scratch, 'absent')
  assert.is(await attempt(mount.backing, absent), 'ENOENT')
  assert.is(await attempt(absent, mount.mountPoint), 'ENOENT')
  const file = path.join(mount.scratch, 'file')
  await fs.writeFile(file, '')
  assert.is(await attempt(mount.backing, file), 'ENOTDIR')
})

test('one user who opens all that he can leaves descriptors for others', async (mount) => {
  if (process.getuid?.() !== 0) return
  await fs.chmod(mount.scratch, 0o755)
  const limited = await run('prlimit', [`--pid=${mount.child.pid}`, '--nofile'])
  assert.is(limited.code, 0)
  const [soft = 0] = (limited.stdout.match(/\d+/g) ?? []).map(Number)
  // More than a test should open; the bound is read once, when the first file is opened.
  const bound = 600
  if (soft > bound) await run('prlimit', [`--pid=${mount.child.pid}`, `--nofile=${bound}:`])
  await fs.writeFile(path.join(mount.backing, 'file'), 'x', { mode: 0o644 })
  const script = `
import os, sys
os.setgid(61002); os.setuid(61002)
held = []
try:
    while len(held) < 700: held.append(os.open(sys.argv[1], os.O_RDONLY))
except OSError as e: print(e.errno)
print(len(held) <= 300)
`
  const { stdout, stderr } = await run('python3', [
    '-c',
    script,
    path.join(mount.mountPoint, 'file'),
  ])
  assert.is(stdout + stderr, '23\nTrue\n')
})

test.run()
