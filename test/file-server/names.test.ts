/** Names on a real mount: what is made, linked, moved and removed, and whose it is. */
import { linkSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { errnoOf } from '../../src/errors.ts'
import { mountSuite, run } from '../support/mount-suite.ts'

const test = mountSuite('names on a mount')

/** `statfs`'s type, and what its inodes count to. */
const [EXT4, EXT4_LINKS] = [0xef53, 65_000]

test('any bytes make a name', async ({ backing, mountPoint }) => {
  const name = Buffer.from([0x66, 0xff, 0x0a, 0x20, 0x5c, 0xc3, 0x28])
  await fs.writeFile(Buffer.concat([Buffer.from(`${mountPoint}/`), name]), 'x')
  const names = await fs.readdir(Buffer.from(backing), { encoding: 'buffer' })
  assert.ok(names.some((found) => found.equals(name)))
})

test('hard links are one inode', async ({ mountPoint }) => {
  const [one, two] = [path.join(mountPoint, 'one'), path.join(mountPoint, 'two')]
  await fs.writeFile(one, 'x')
  await fs.link(one, two)
  const [left, right] = [await fs.stat(one), await fs.stat(two)]
  assert.is(left.ino, right.ino)
  assert.is(right.nlink, 2)
  await fs.appendFile(two, 'y')
  assert.is(await fs.readFile(one, 'utf8'), 'xy')
  await fs.unlink(one)
  assert.is((await fs.stat(two)).nlink, 1)
})

test('as many links as the backing filesystem has, and then its own refusal', async (mount) => {
  const { backing, mountPoint } = mount
  const { type } = await fs.statfs(backing)
  if (type !== EXT4) return console.log('SKIP many links: the scratch directory is not on ext4')
  const at = (folder: string, name: number | string): string => path.join(folder, String(name))
  await fs.writeFile(at(backing, 0), 'x')
  for (let i = 1; i < EXT4_LINKS - 1; i += 1) linkSync(at(backing, 0), at(backing, i))
  await fs.link(at(mountPoint, 0), at(mountPoint, 'last'))
  assert.is((await fs.stat(at(mountPoint, 'last'))).nlink, EXT4_LINKS)
  const refusal = await fs.link(at(mountPoint, 'last'), at(mountPoint, 'more')).catch(errnoOf)
  assert.is(refusal, 'EMLINK')
  await fs.unlink(at(mountPoint, 0))
  await fs.link(at(mountPoint, 'last'), at(mountPoint, 'more'))
  assert.is((await fs.stat(at(mountPoint, 'more'))).nlink, EXT4_LINKS)
})

test('an unlinked file lives while it is open', async ({ backing, mountPoint }) => {
  const file = path.join(mountPoint, 'gone')
  await using handle = await fs.open(file, 'w+')
  await handle.write('still')
  await fs.unlink(file)
  assert.equal(await fs.readdir(backing), [])
  assert.is((await handle.stat()).nlink, 0)
  await handle.truncate(3)
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(10), 0, 10, 0)
  assert.is(buffer.toString('utf8', 0, bytesRead), 'sti')
})

test('a listing shows what came outside, however often it was read before', async ({
  backing,
  mountPoint,
}) => {
  const seen = async (): Promise<string[]> => {
    const names = await fs.readdir(mountPoint)
    const sizes = names.map(async (name) => {
      const { size } = await fs.stat(path.join(mountPoint, name))
      return `${name} ${size}`
    })
    return (await Promise.all(sizes)).toSorted()
  }
  for (let i = 0; i < 300; i += 1) await fs.writeFile(path.join(backing, `f${i}`), 'x'.repeat(i))
  const expected = Array.from({ length: 300 }, (_, i) => `f${i} ${i}`)
  for (let i = 0; i < 5; i += 1) {
    assert.equal(await seen(), expected.toSorted())
    await fs.writeFile(path.join(backing, `new${i}`), 'y'.repeat(i))
    expected.push(`new${i} ${i}`)
  }
})

test('what stands outside shows, and what goes outside is gone', async ({
  backing,
  mountPoint,
}) => {
  await fs.writeFile(path.join(backing, 'a'), '1')
  assert.is(await fs.readFile(path.join(mountPoint, 'a'), 'utf8'), '1')
  await fs.writeFile(path.join(backing, 'b'), '2')
  assert.is(await fs.readFile(path.join(mountPoint, 'b'), 'utf8'), '2')
  await fs.unlink(path.join(backing, 'a'))
  // Names may be kept for a second.
  await fs.stat(path.join(mountPoint, 'a')).catch(() => undefined)
  const deadline = Date.now() + 10_000
  while (Date.now() < deadline) {
    const error = await fs.readFile(path.join(mountPoint, 'a')).catch((thrown: unknown) => thrown)
    if (error instanceof Error && errnoOf(error) === 'ENOENT') return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.unreachable('a name that is gone was still served')
})

test('links never lead out through the server', async ({ scratch, backing, mountPoint }) => {
  await fs.writeFile(path.join(scratch, 'outside'), 'secret')
  await fs.symlink('../outside', path.join(backing, 'up'))
  // The kernel follows it from the mount point, not from the backing directory.
  assert.is(await fs.readlink(path.join(mountPoint, 'up')), '../outside')
  assert.is(await fs.readFile(path.join(mountPoint, 'up'), 'utf8'), 'secret')
  assert.ok((await fs.lstat(path.join(mountPoint, 'up'))).isSymbolicLink())
})

test('what a user makes is his, with his umask and the directory’s group', async (mount) => {
  const { mountPoint } = mount
  if (process.getuid?.() !== 0) return
  await fs.chmod(mount.scratch, 0o711)
  await fs.chmod(mountPoint, 0o777)
  await fs.mkdir(path.join(mountPoint, 'team'))
  await fs.chown(path.join(mountPoint, 'team'), 0, 4321)
  await fs.chmod(path.join(mountPoint, 'team'), 0o2777)
  await run(
    'setpriv',
    ['--reuid=1234', '--regid=1235', '--groups=4321', 'sh', '-c'],
    `umask 027; cd "$1" && echo x > own && mkdir dir && ln -s own link && mkfifo pipe &&
     echo x > team/file && mkdir team/below`,
    mountPoint,
  )
  const seen = async (name: string) => {
    const { uid, gid, mode } = await fs.lstat(path.join(mount.backing, name))
    return [uid, gid, (mode & 0o7777).toString(8)].join(' ')
  }
  assert.is(await seen('own'), '1234 1235 640')
  assert.is(await seen('dir'), '1234 1235 750')
  assert.is(await seen('link'), '1234 1235 777')
  assert.is(await seen('pipe'), '1234 1235 640')
  assert.is(await seen('team/file'), '1234 4321 640')
  assert.is(await seen('team/below'), '1234 4321 2750')
})

test('a user may do through the mount what he may do behind it, and no more', async (mount) => {
  if (process.getuid?.() !== 0) return
  const { mountPoint } = mount
  await fs.chmod(mount.scratch, 0o711)
  await fs.writeFile(path.join(mountPoint, 'private'), 'x', { mode: 0o600 })
  await fs.mkdir(path.join(mountPoint, 'closed'), { mode: 0o700 })
  const refused = await run(
    'setpriv',
    ['--reuid=1234', '--regid=1234', '--clear-groups', 'sh', '-c'],
    `cd "$1"; cat private; echo y > private; ls closed; rm private; touch new; chmod 777 private;
     chown 1234 private; true`,
    mountPoint,
  )
  assert.is(refused.stderr.match(/Permission denied/g)?.length, 5)
  assert.is(refused.stderr.match(/Operation not permitted/g)?.length, 2)
  assert.equal((await fs.readdir(mount.backing)).toSorted(), ['closed', 'private'])
})

test('a directory of thousands lists whole, also while it is being emptied', async (mount) => {
  const { backing, mountPoint } = mount
  const names = Array.from({ length: 3000 }, (_, i) => `file-${i}-${'x'.repeat(i % 60)}`)
  for (const name of names) await fs.writeFile(path.join(backing, name), '')
  assert.equal((await fs.readdir(mountPoint)).toSorted(), names.toSorted())
  // Offsets stay good when entries before them go.
  const seen: string[] = []
  for await (const entry of await fs.opendir(mountPoint, { bufferSize: 16 })) {
    seen.push(entry.name)
    await fs.unlink(path.join(mountPoint, entry.name))
  }
  assert.equal(seen.toSorted(), names.toSorted())
  assert.equal(await fs.readdir(backing), [])
})

test('more files are known than descriptors are held', async (mount) => {
  const { backing, mountPoint } = mount
  const count = 6_000
  for (let i = 0; i < count; i += 1) await fs.writeFile(path.join(backing, `f${i}`), String(i))
  for (let i = 0; i < count; i += 1) await fs.stat(path.join(mountPoint, `f${i}`))
  const held = (await fs.readdir(`/proc/${mount.child.pid}/fd`)).length
  assert.ok(held < 5_000, `${held} descriptors`)
  for (const i of [0, 1, 17, 2_000, count - 1]) {
    assert.is(await fs.readFile(path.join(mountPoint, `f${i}`), 'utf8'), String(i))
  }
  // Removed and made anew behind the mount, where the old number may be used again.
  await fs.unlink(path.join(backing, 'f3'))
  await fs.writeFile(path.join(backing, 'f3'), 'new')
  const deadline = Date.now() + 10_000
  while ((await fs.readFile(path.join(mountPoint, 'f3'), 'utf8').catch(() => '')) !== 'new') {
    assert.ok(Date.now() < deadline, 'the file of before was still served')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
})

test.run()
