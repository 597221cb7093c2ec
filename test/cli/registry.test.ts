import { chmod, chown, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { runtimeDirectories, runtimeDirectory, stateDirectory } from '../../src/config/paths.ts'
import { mountAt, parseMountTable } from '../../src/file-server/mount-table.ts'
import {
  isAlive,
  register,
  running,
  startTicksOf,
  unregister,
  type MountRecord,
} from '../../src/daemon/registry.ts'
import { lockState, prepareState, StateInUse } from '../../src/tenants/state-lock.ts'

const test = suite<{ scratch: string }>('registry')

test.before.each(async (context) => {
  context.scratch = await mkdtemp(path.join(tmpdir(), 'insitu-registry-'))
})
test.after.each(async ({ scratch }) => {
  await rm(scratch, { recursive: true })
})

async function ownRecord(mountPoint: string): Promise<MountRecord> {
  return {
    pid: process.pid,
    startTicks: (await startTicksOf(process.pid)) ?? '',
    mountPoint,
    backing: '/backing',
    stateDirectory: '/state',
    socket: '/socket',
    startedAt: new Date().toISOString(),
  }
}

test('a record counts while its process lives', async ({ scratch }) => {
  const [first, second] = [await ownRecord('/mnt/b'), await ownRecord('/mnt/a')]
  await register(scratch, first)
  await register(scratch, second)
  // The pid is in use, but by another process than the one that wrote the record.
  await register(scratch, { ...(await ownRecord('/mnt/old')), startTicks: '1' })
  await writeFile(path.join(scratch, 'mounts/broken.json'), '{"pid":')
  assert.equal(await running([scratch, scratch, path.join(scratch, 'none')]), [second, first])
  await unregister(scratch, first)
  assert.equal(await running([scratch]), [second])
  assert.is(await isAlive({ pid: 0x7fff_fff0, startTicks: '1' }), false)
})

test('records that somebody else could have written do not count', async ({ scratch }) => {
  await register(scratch, await ownRecord('/mnt/a'))
  for (const directory of [scratch, path.join(scratch, 'mounts')]) {
    await chmod(directory, 0o777)
    assert.equal(await running([scratch]), [], directory)
    await chmod(directory, 0o755)
    if (process.getuid?.() !== 0) continue
    await chown(directory, 61002, 61002)
    assert.equal(await running([scratch]), [], directory)
    await chown(directory, 0, 0)
  }
  assert.is((await running([scratch])).length, 1)
})

test('a state directory is nobody else’s to write, and what it holds nobody else’s to read', async ({
  scratch,
}) => {
  const state = path.join(scratch, 'state')
  await mkdir(state)
  await chmod(state, 0o755)
  await prepareState(state)
  for (const name of ['lock', 'programs.db'])
    assert.is((await stat(path.join(state, name))).mode & 0o777, 0o600)
  await chmod(state, 0o775)
  await rejects(prepareState(state), /must be yours/)
  await chmod(state, 0o700)
  await symlink(state, path.join(scratch, 'link'))
  await rejects(prepareState(path.join(scratch, 'link')), /must be yours/)
  if (process.getuid?.() !== 0) return
  await chown(state, 61002, 61002)
  await rejects(prepareState(state), /must be yours/)
})

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  await promise.then(
    () => assert.unreachable('it was accepted'),
    (error: Error) => assert.match(error.message, message),
  )
}

test("a successor's record is not removed", async ({ scratch }) => {
  const record = await ownRecord('/mnt/a')
  await register(scratch, record)
  await unregister(scratch, { ...record, startTicks: '1' })
  assert.equal(await running([scratch]), [record])
})

test('a runtime directory that others may write to is refused', async ({ scratch }) => {
  const open = path.join(scratch, 'open')
  await mkdir(open)
  await chmod(open, 0o777)
  try {
    await register(open, await ownRecord('/mnt/a'))
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, /must be a directory of yours/)
  }
})

test('a state directory has one user at a time', ({ scratch }) => {
  const unlock = lockState(scratch)
  assert.throws(
    () => lockState(scratch),
    (error: unknown) => error instanceof StateInUse && error.message.includes(scratch),
  )
  unlock()
  lockState(scratch)()
})

test('the mount table is read as the kernel writes it', () => {
  const table = parseMountTable(
    [
      '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw',
      String.raw`40 22 0:51 / /mnt/a\040b\134c rw,nosuid shared:2 master:1 - fuse.insitu /srv/x\040y rw,user_id=0`,
      '41 40 0:52 / /mnt/twice rw - tmpfs tmpfs rw',
      '42 41 0:53 / /mnt/twice rw - fuse.insitu /srv rw',
      '',
    ].join('\n'),
  )
  assert.is(table.length, 4)
  assert.equal(mountAt(table, '/mnt/a b\\c'), {
    mountPoint: '/mnt/a b\\c',
    type: 'fuse.insitu',
    source: '/srv/x y',
    minor: 51,
  })
  assert.is(mountAt(table, '/mnt/twice')?.minor, 53, 'the topmost counts')
  assert.is(mountAt(table, '/mnt'), undefined)
})

test('places follow the XDG specification for users', () => {
  const root = { uid: 0, variables: { XDG_RUNTIME_DIR: '/run/user/0', XDG_STATE_HOME: '/x' } }
  assert.is(runtimeDirectory(root), '/run/insitu')
  assert.match(stateDirectory('/srv', root), /^\/var\/lib\/insitu\/volumes\/[0-9a-f]{16}$/)
  const user = { uid: 7, variables: { XDG_RUNTIME_DIR: '/run/user/7', HOME: '/home/u' } }
  assert.is(runtimeDirectory(user), '/run/user/7/insitu')
  assert.match(stateDirectory('/srv', user), /^\/home\/u\/\.local\/state\/insitu\/volumes\//)
  assert.is(
    runtimeDirectory({ uid: 7, variables: { XDG_RUNTIME_DIR: 'relative' } }),
    '/tmp/insitu-7',
  )
  assert.is(
    runtimeDirectory({ uid: 0, variables: { INSITU_RUNTIME_DIR: '/elsewhere' } }),
    '/elsewhere',
  )
  assert.equal(runtimeDirectories(user), ['/run/insitu', '/run/user/7/insitu'])
  assert.equal(runtimeDirectories({ uid: 0, variables: {} }), ['/run/insitu'])
  assert.equal(runtimeDirectories({ uid: 7, variables: { INSITU_RUNTIME_DIR: '/x' } }), ['/x'])
  assert.is.not(stateDirectory('/srv/a', root), stateDirectory('/srv/b', root))
})

test.run()
