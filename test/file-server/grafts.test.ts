/** Grafts: a second backing tree in its place, its border, and what it refuses. */
import * as fs from 'node:fs/promises'
import { constants } from 'node:os'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { graftSuite } from '../support/graft-mount.ts'
import { run } from '../support/mount-suite.ts'

const test = graftSuite('grafts')

/** Rejects with that code. */
async function refuses(code: string, attempt: Promise<unknown>, text = ''): Promise<void> {
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason as { code?: string; message: string },
  )
  assert.is(error?.code, code, text)
}

test('appears as a directory, once, with its own files and attributes', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'file'), 'from the tree')
  await fs.mkdir(path.join(mount.backing, 'shared'))
  await fs.chmod(tree, 0o751)
  // The kernel knows that it is not there.
  const at = path.join(mount.mountPoint, 'shared', 'data')
  await refuses('ENOENT', fs.stat(at))
  await mount.graft({ at: 'shared', name: 'data', backing: tree })
  assert.is(await fs.readFile(path.join(at, 'file'), 'utf8'), 'from the tree')
  assert.equal(await fs.readdir(at), ['file'])
  const [entry, ...rest] = await fs.readdir(path.dirname(at), { withFileTypes: true })
  assert.is(entry?.name, 'data')
  assert.ok(entry?.isDirectory())
  assert.equal(rest, [])
  const here = await fs.stat(at)
  assert.is(here.mode & 0o7777, 0o751)
  await fs.writeFile(path.join(at, 'new'), 'through the mount')
  assert.is(await fs.readFile(path.join(tree, 'new'), 'utf8'), 'through the mount')
  assert.equal(await fs.readdir(path.join(mount.backing, 'shared', 'data')), [])
  const listed = await run('ls', ['-ia', path.dirname(at)])
  const [, ino] = /(\d+) data/.exec(listed.stdout) ?? []
  assert.is(Number(ino), here.ino)
  const [, above] = /(\d+) \.\./.exec((await run('ls', ['-ifa', at])).stdout) ?? []
  assert.is(Number(above), (await fs.stat(path.dirname(at))).ino)
  assert.is((await run('sh', ['-c'], 'cd "$1" && cd .. && ls', at)).stdout, 'data\n')
})

test(
  'in an exclusive volume, where the kernel keeps what it knows',
  async (mount) => {
    const tree = mount.tree('tree')
    await fs.writeFile(path.join(tree, 'file'), 'x')
    const at = path.join(mount.mountPoint, 'data')
    await refuses('ENOENT', fs.stat(at))
    assert.equal(await fs.readdir(mount.mountPoint), [])
    const graft = await mount.graft({ name: 'data', backing: tree, revocable: true })
    assert.equal(await fs.readdir(mount.mountPoint), ['data'])
    assert.equal(await fs.readdir(at), ['file'])
    await mount.revoke(graft)
    await refuses('ENOENT', fs.stat(at))
    assert.equal(await fs.readdir(mount.mountPoint), [])
  },
  { exclusive: true },
)

test('on another filesystem: numbers of its own, and its own statfs', async (mount) => {
  const [here, there] = [mount.tree('here'), mount.tmpfs('there')]
  for (const folder of [mount.backing, here, there])
    for (let i = 0; i < 50; i += 1) await fs.writeFile(path.join(folder, `file-${i}`), '')
  await mount.graft({ name: 'here', backing: here })
  await mount.graft({ name: 'there', backing: there })
  const seen = new Map<bigint, string>()
  for (const folder of ['', 'here', 'there'])
    for (const name of ['.', ...(await fs.readdir(path.join(mount.mountPoint, folder)))]) {
      const file = path.join(mount.mountPoint, folder, name)
      if (folder === '' && !name.startsWith('file')) continue
      const { ino, dev } = await fs.stat(file, { bigint: true })
      assert.not.ok(seen.has(ino), `${file} has the number of ${seen.get(ino)}`)
      seen.set(ino, file)
      assert.is(dev, (await fs.stat(mount.mountPoint, { bigint: true })).dev)
      if (folder === '' && name.startsWith('file'))
        assert.is(ino, (await fs.stat(path.join(mount.backing, name), { bigint: true })).ino)
    }
  assert.is(seen.size, 152)
  const space = await fs.statfs(path.join(mount.mountPoint, 'there'))
  assert.is(space.blocks, (await fs.statfs(there)).blocks)
  assert.is.not(space.blocks, (await fs.statfs(mount.mountPoint)).blocks)
})

test('hard links of one file in two trees are two files', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(mount.backing, 'file'), 'x')
  await fs.link(path.join(mount.backing, 'file'), path.join(tree, 'file'))
  await mount.graft({ name: 'data', backing: tree, readOnly: true })
  const inside = path.join(mount.mountPoint, 'data', 'file')
  await fs.appendFile(path.join(mount.mountPoint, 'file'), 'y')
  await refuses('EROFS', fs.appendFile(inside, 'z'))
  assert.is(await fs.readFile(inside, 'utf8'), 'xy')
})

test('nothing is renamed or linked over its border, and mv and cp copy', async (mount) => {
  const tree = mount.tree('tree')
  await mount.graft({ name: 'data', backing: tree })
  const [outer, inner] = [
    path.join(mount.mountPoint, 'outer'),
    path.join(mount.mountPoint, 'data', 'inner'),
  ]
  await fs.writeFile(outer, 'outer')
  await fs.writeFile(inner, 'inner')
  await refuses('EXDEV', fs.rename(outer, `${inner}2`))
  await refuses('EXDEV', fs.rename(inner, `${outer}2`))
  await refuses('EXDEV', fs.link(outer, `${inner}2`))
  await refuses('EXDEV', fs.link(inner, `${outer}2`))
  const copy = await run('python3', [
    '-c',
    `
import os, sys
def copy(a, b):
    s, d = os.open(a, os.O_RDONLY), os.open(b, os.O_RDWR | os.O_CREAT)
    print(os.copy_file_range(s, d, 100), os.pread(d, 100, 0).decode())
copy(sys.argv[1], sys.argv[2] + '3')
copy(sys.argv[2], sys.argv[1] + '3')
`,
    outer,
    inner,
  ])
  assert.is(copy.stdout, '5 outer\n5 inner\n', copy.stderr)
  assert.is((await run('mv', [outer, `${inner}2`])).code, 0)
  assert.is(await fs.readFile(path.join(tree, 'inner2'), 'utf8'), 'outer')
})

test('the point and what is above it stay where they are', async (mount) => {
  const tree = mount.tree('tree')
  await fs.mkdir(path.join(mount.backing, 'a', 'b'), { recursive: true })
  await fs.mkdir(path.join(mount.backing, 'other'))
  await mount.graft({ at: 'a/b', name: 'data', backing: tree })
  const script = `
import ctypes, errno, os, sys
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def exchange(a, b):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), 2): raise OSError(ctypes.get_errno(), '')
def attempt(call, *args):
    try: call(*args); print(call.__name__, *args, 'done')
    except OSError as e:
        if e.errno != errno.EBUSY: print(call.__name__, *args, errno.errorcode[e.errno])
for victim in ['a', 'a/b', 'a/b/data']:
    attempt(os.rename, victim, 'moved')
    attempt(os.rmdir, victim)
    attempt(exchange, victim, 'other')
    attempt(exchange, 'other', victim)
    attempt(os.rename, 'other', victim)
os.rename('other', 'a/other')
os.rename('a/other', 'a/b/other')
`
  const { stdout, stderr } = await run('python3', ['-c', script, mount.mountPoint])
  assert.is(stdout + stderr, '')
  await fs.access(path.join(mount.mountPoint, 'a', 'b', 'data'))
})

test('covers an empty directory or none, and nothing else', async (mount) => {
  const [tree, { backing }] = [mount.tree('tree'), mount]
  await fs.mkdir(path.join(backing, 'full'))
  await fs.writeFile(path.join(backing, 'full', 'file'), '')
  await fs.writeFile(path.join(backing, 'file'), '')
  await fs.symlink(tree, path.join(backing, 'link'))
  await refuses('ENOTEMPTY', mount.graft({ name: 'full', backing: tree }))
  await refuses('ENOTDIR', mount.graft({ name: 'file', backing: tree }))
  await refuses('ENOTDIR', mount.graft({ name: 'link', backing: tree }))
  for (const name of ['', '.', '..', 'a/b', '.compute', '.query', 'n'.repeat(256)])
    await refuses('EINVAL', mount.graft({ name, backing: tree }), name)
  await refuses('ENOENT', mount.graft({ name: 'data', backing: path.join(tree, 'absent') }))
  await refuses('ENOTDIR', mount.graft({ name: 'data', backing: path.join(backing, 'file') }))
  await fs.mkdir(path.join(backing, 'empty'))
  const graft = await mount.graft({ name: 'empty', backing: tree, revocable: true })
  await refuses('EEXIST', mount.graft({ name: 'empty', backing: mount.tree('other') }))
  await mount.revoke(graft)
  assert.equal((await fs.readdir(backing)).toSorted(), ['empty', 'file', 'full', 'link'])
  assert.equal(await fs.readdir(path.join(mount.mountPoint, 'empty')), [])
})

test('a backing that overlaps another one is refused, however it is reached', async (mount) => {
  const { backing, scratch } = mount
  const tree = mount.tree('tree')
  await fs.mkdir(path.join(tree, 'inside'))
  await fs.mkdir(path.join(backing, 'inside'))
  await mount.graft({ name: 'data', backing: tree })
  const link = path.join(scratch, 'link')
  await fs.symlink(path.join(tree, 'inside'), link)
  const bound = mount.tmpfs('bound')
  const bind = async (from: string, name: string): Promise<string> => {
    const to = path.join(bound, name)
    await fs.mkdir(to)
    assert.is((await run('mount', ['--bind', from, to])).code, 0)
    return to
  }
  const binds: string[] = []
  try {
    binds.push(await bind(path.join(tree, 'inside'), 'of-graft'))
    binds.push(await bind(path.join(backing, 'inside'), 'of-volume'))
    for (const overlapping of [
      backing,
      path.join(backing, 'inside'),
      scratch,
      tree,
      path.join(tree, 'inside'),
      link,
      '/',
      mount.mountPoint,
      path.join(mount.mountPoint, 'inside'),
      ...binds,
      bound,
    ])
      await refuses('EINVAL', mount.graft({ name: 'other', backing: overlapping }), overlapping)
    assert.not.ok((await fs.readdir(backing)).includes('other'))
  } finally {
    for (const to of binds) await run('umount', [to])
  }
  await mount.graft({ name: 'other', backing: bound })
})

test('a read-only one refuses whatever changes anything', async (mount) => {
  for (const [name, tree] of [
    ['ext', mount.tree('ext')],
    ['tmp', mount.tmpfs('tmp')],
  ] as const) {
    await fs.writeFile(path.join(tree, 'file'), 'as it was')
    await fs.mkdir(path.join(tree, 'empty'))
    await mount.graft({ name, backing: tree, readOnly: true })
    const script = `
import errno, mmap, os, sys
os.chdir(sys.argv[1])
fd = os.open('file', os.O_RDONLY)
def attempt(what, call):
    try: call(); print(what, 'done')
    except OSError as e:
        if e.errno != errno.EROFS: print(what, errno.errorcode[e.errno])
attempt('create', lambda: os.open('new', os.O_WRONLY | os.O_CREAT))
attempt('create2', lambda: os.open('file', os.O_WRONLY | os.O_CREAT))
attempt('write', lambda: os.open('file', os.O_WRONLY))
attempt('rw', lambda: os.open('file', os.O_RDWR))
attempt('append', lambda: os.open('file', os.O_WRONLY | os.O_APPEND))
attempt('trunc', lambda: os.open('file', os.O_RDONLY | os.O_TRUNC))
attempt('tmpfile', lambda: os.open('.', os.O_RDWR | os.O_TMPFILE))
attempt('truncate', lambda: os.truncate('file', 1))
attempt('chmod', lambda: os.chmod('file', 0o600))
attempt('fchmod', lambda: os.fchmod(fd, 0o600))
attempt('chown', lambda: os.chown('file', 1, 1))
attempt('utime', lambda: os.utime('file'))
attempt('utime2', lambda: os.utime(fd, (1, 1)))
attempt('setxattr', lambda: os.setxattr('file', 'user.x', b'1'))
attempt('removexattr', lambda: os.removexattr('file', 'user.x'))
attempt('mkdir', lambda: os.mkdir('newdir'))
attempt('mknod', lambda: os.mkfifo('fifo'))
attempt('symlink', lambda: os.symlink('file', 'symlink'))
attempt('link', lambda: os.link('file', 'linked'))
attempt('rename', lambda: os.rename('file', 'renamed'))
attempt('unlink', lambda: os.unlink('file'))
attempt('rmdir', lambda: os.rmdir('empty'))
print(os.read(fd, 100).decode(), sorted(os.listdir('.')))
m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
print(m[:2].decode())
try: mmap.mmap(fd, 0, prot=mmap.PROT_READ | mmap.PROT_WRITE); print('mapped')
except OSError as e: print(errno.errorcode[e.errno])
`
    const at = path.join(mount.mountPoint, name)
    const { stdout, stderr } = await run('python3', ['-c', script, at])
    assert.is(stdout + stderr, "as it was ['empty', 'file']\nas\nEACCES\n", name)
    assert.is(await fs.readFile(path.join(tree, 'file'), 'utf8'), 'as it was')
    const moved = await run('lsattr', ['-d', at])
    if (name === 'ext') assert.is(moved.code, 0, moved.stderr)
    assert.is.not((await run('chattr', ['+A', path.join(at, 'file')])).code, 0)
  }
})

test('one inside another; the outer takes the inner away with it', async (mount) => {
  const [outer, inner, third] = [mount.tree('outer'), mount.tmpfs('inner'), mount.tree('third')]
  await fs.mkdir(path.join(outer, 'sub'))
  await fs.writeFile(path.join(inner, 'file'), 'deep')
  await fs.writeFile(path.join(third, 'file'), 'third')
  const first = await mount.graft({ name: 'a', backing: outer, revocable: true })
  await mount.graft({ within: first, at: 'sub', name: 'b', backing: inner, revocable: true })
  // The key of a covered directory stands for what covers it.
  await mount.graft({ at: 'a', name: 'c', backing: third, revocable: true })
  const at = path.join(mount.mountPoint, 'a', 'sub', 'b')
  assert.is(await fs.readFile(path.join(at, 'file'), 'utf8'), 'deep')
  assert.is(await fs.readFile(path.join(mount.mountPoint, 'a', 'c', 'file'), 'utf8'), 'third')
  await refuses('EBUSY', fs.rename(path.dirname(at), path.join(mount.mountPoint, 'a', 'moved')))
  await refuses('EBUSY', fs.rmdir(at))
  await refuses('EXDEV', fs.rename(path.join(at, 'file'), path.join(path.dirname(at), 'file')))
  const handle = await fs.open(path.join(at, 'file'), 'r')
  await mount.revoke(first)
  // Node has no name for it.
  await handle.stat().then(
    () => assert.unreachable(),
    (error: unknown) => assert.is((error as { errno?: number }).errno, -constants.errno.ESTALE),
  )
  await handle.close()
  assert.equal(await fs.readdir(mount.mountPoint), [])
  assert.equal(await fs.readdir(outer), ['sub'])
  assert.equal(await fs.readdir(path.join(outer, 'sub')), [])
  assert.equal((await mount.statistics()).grafts, [])
})

test('has no programs and takes none', async (mount) => {
  const tree = mount.tree('tree')
  await mount.graft({ name: 'data', backing: tree })
  const at = path.join(mount.mountPoint, 'data')
  await refuses('ENOENT', fs.stat(path.join(at, '.compute')))
  await refuses('ENOENT', fs.readFile(path.join(at, '.query')))
  await refuses('EACCES', fs.writeFile(path.join(at, '.compute'), 'emit("x", 1)'))
  await fs.writeFile(path.join(at, 'program'), '')
  await refuses('EACCES', fs.rename(path.join(at, 'program'), path.join(at, '.compute')))
  await fs.writeFile(path.join(tree, '.compute'), 'a real one')
  assert.is(await fs.readFile(path.join(at, '.compute'), 'utf8'), 'a real one')
})

test('one that cannot be revoked goes only when nothing is open', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'file'), 'x')
  const graft = await mount.graft({ name: 'data', backing: tree })
  const handle = await fs.open(path.join(mount.mountPoint, 'data', 'file'), 'r')
  await refuses('EBUSY', mount.revoke(graft))
  assert.is((await handle.read(Buffer.alloc(1), 0, 1, 0)).bytesRead, 1)
  assert.is((await mount.statistics()).grafts[0]?.openHandles, 1)
  await handle.close()
  // Closing is told to the server after close(2) returned.
  const until = Date.now() + 10_000
  while ((await mount.statistics()).grafts[0]?.openHandles !== 0) assert.ok(Date.now() < until)
  await mount.revoke(graft)
  assert.equal(await fs.readdir(mount.mountPoint), [])
  await refuses('ENOENT', mount.revoke(graft))
})

test('its point is taken away with the mount, if we made it', async (mount) => {
  await fs.mkdir(path.join(mount.backing, 'theirs'))
  const [one, other] = [mount.tree('one'), mount.tree('other')]
  await mount.graft({ name: 'theirs', backing: one })
  await mount.graft({ name: 'ours', backing: other })
  assert.equal((await fs.readdir(mount.backing)).toSorted(), ['ours', 'theirs'])
  const exited = new Promise((resolve) => mount.child.once('exit', resolve))
  mount.child.disconnect()
  await exited
  assert.equal(await fs.readdir(mount.backing), ['theirs'])
})

test.run()
