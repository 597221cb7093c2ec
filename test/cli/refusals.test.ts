/** What `insitu mount` and its neighbours refuse: one line that says what to do, an exit code, and
 * nothing changed. */
import { chmod, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, CliWorld } from '../support/cli.ts'

const test = suite<{ world: CliWorld }>('refusals')
const mounting = await canMount('refusals of mounts')

test.before.each(async (context) => {
  context.world = await CliWorld.create()
})
test.after.each(async ({ world }) => {
  await world.close()
})

async function assertRefused(
  world: CliWorld,
  args: readonly string[],
  pattern: RegExp,
  code = 1,
): Promise<void> {
  const finished = await world.insitu(args)
  assert.match(finished.stderr, pattern)
  assert.match(finished.stderr, /^insitu: [^\n]+\n$/, 'one line')
  assert.is(finished.code, code)
  assert.is(finished.stdout, '')
}

if (mounting) {
  test('places that do not exist or are no directories', async ({ world }) => {
    const { files, mountPoint } = world
    const file = path.join(world.scratch, 'file')
    await writeFile(file, '')
    const none = path.join(world.scratch, 'none')
    await assertRefused(
      world,
      ['mount', none, mountPoint],
      /the directory .*none does not exist: create/,
    )
    await assertRefused(
      world,
      ['mount', files, none],
      /the mount point .*none does not exist: create/,
    )
    await assertRefused(world, ['mount', file, mountPoint], /is not a directory/)
    await assertRefused(world, ['mount', files, file], /is not a directory/)
  })

  test('a mount point that is in use', async ({ world }) => {
    const { files, mountPoint } = world
    await writeFile(path.join(mountPoint, 'x'), '')
    await assertRefused(world, ['mount', files, mountPoint], /is not empty: use an empty directory/)
    assert.equal(await readdir(mountPoint), ['x'])
    await rm(path.join(mountPoint, 'x'))
    await world.run('mount', ['-t', 'tmpfs', 'insitu-test', mountPoint])
    await assertRefused(world, ['mount', files, mountPoint], /is busy: tmpfs is mounted there/)
    await assertRefused(world, ['unmount', mountPoint], /is not a mount of insitu: use umount/)
    await world.run('umount', [mountPoint])
    await assertRefused(world, ['unmount', mountPoint], /nothing is mounted at/)
  })

  test('places inside each other, also through links', async ({ world }) => {
    const { files, mountPoint } = world
    const below = path.join(files, 'below')
    await mkdir(below)
    await symlink(below, path.join(world.scratch, 'link'))
    await assertRefused(world, ['mount', files, files], /cannot be mounted on itself/)
    await assertRefused(world, ['mount', files, below], /is below the directory/)
    await assertRefused(world, ['mount', files, path.join(world.scratch, 'link')], /is below/)
    await assertRefused(world, ['mount', below, files], /would hide the directory/)
    // A name that only begins alike is no part of it.
    await mkdir(`${files}-2`)
    await assertRefused(
      world,
      ['mount', files, `${files}-2`, '--state', path.join(files, 'state')],
      /the state directory .* is inside .*: choose one outside with --state/,
    )
    const link = path.join(world.scratch, 'link-to-files')
    await symlink(files, link)
    await assertRefused(
      world,
      ['mount', files, mountPoint, '--state', path.join(link, 'new/state')],
      /the state directory .* is inside .*: choose one outside with --state/,
    )
    await assertRefused(
      world,
      ['mount', files, mountPoint, '--state', '/proc/none/state'],
      /the state directory .* cannot be made \(ENOENT\): choose another --state/,
    )
    await assertRefused(
      world,
      ['mount', files, mountPoint, '--state', mountPoint, '--detach'],
      /the state directory .* is inside/,
    )
    assert.equal(await readdir(files), ['below'])
  })

  test('a directory that is not readable', async ({ world }) => {
    await chmod(world.files, 0o000)
    await chmod(world.scratch, 0o755)
    // Root reads anything, so root gives that right up.
    const finished = await world.run('setpriv', [
      '--bounding-set=-dac_override,-dac_read_search',
      '--inh-caps=-dac_override,-dac_read_search',
      'sh',
      '-c',
      'chown 1 "$2" && exec "$1" mount "$2" "$3"',
      'sh',
      path.resolve('bin/insitu'),
      world.files,
      world.mountPoint,
    ])
    assert.match(finished.stderr, /is not readable: give yourself read and search permission/)
    assert.is(finished.code, 1)
  })

  test('no device, or one that is not ours to open', async ({ world }) => {
    const { files, mountPoint } = world
    // In a mount namespace of its own /dev is an empty folder.
    const finished = await world.run('unshare', [
      '--mount',
      'sh',
      '-c',
      'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$1" mount "$2" "$3"',
      'sh',
      path.resolve('bin/insitu'),
      files,
      mountPoint,
    ])
    assert.match(finished.stderr, /^insitu: there is no \/dev\/fuse: load the module[^\n]*\n$/)
    assert.is(finished.code, 69)
  })
}

test('commands about paths that are on no mount', async ({ world }) => {
  const { files } = world
  await assertRefused(world, ['status', files], /is on no mount of insitu: "insitu status" lists/)
  await assertRefused(world, ['wait', files], /is on no mount/)
  await assertRefused(world, ['logs', files], /is on no mount/)
  await assertRefused(world, ['program', 'list', files], /is on no mount/)
  await assertRefused(world, ['program', 'export', files], /is on no mount/)
  await assertRefused(world, ['program', 'cancel', files], /is on no mount/)
  await assertRefused(world, ['status', path.join(files, 'none')], /does not exist: check the path/)
})

test('programs and archives that cannot be read', async ({ world }) => {
  const { files } = world
  await assertRefused(world, ['check', 'none.js'], /the program none\.js does not exist/)
  await assertRefused(world, ['check', files], /cannot be read \(EISDIR\)/)
  await assertRefused(world, ['run', 'none.js', files], /the program none\.js does not exist/)
  await writeFile(path.join(world.scratch, 'big.js'), Buffer.alloc(1024 * 1024 + 1, 32))
  await assertRefused(world, ['check', 'big.js'], /over the limit of 1\.0 MiB for programs/, 5)
  await writeFile(path.join(world.scratch, 'p.js'), '1')
  await assertRefused(world, ['run', 'p.js', 'none'], /the directory none cannot be used/)
})

test.run()
