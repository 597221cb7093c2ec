/** Mounting, unmounting, crashes, and the commands about a running mount. */
import { readFile, readdir, writeFile, mkdir, rm, symlink } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { MountReport } from '../../src/daemon/control-types.ts'
import { mountAt, readMountTable } from '../../src/file-server/mount-table.ts'
import { isAlive } from '../../src/daemon/registry.ts'
import { canMount, CliWorld, exit } from '../support/cli.ts'

const test = suite<{ world: CliWorld }>('mount')

test.before.each(async (context) => {
  context.world = await CliWorld.create()
})
test.after.each(async ({ world }) => {
  await world.close()
})

const COUNT = `export default (dir) => { emit('count.txt', String([...dir.files('*.txt')].length)) }`
const ENDLESS = 'for (;;);'

async function isMounted({ mountPoint }: CliWorld): Promise<boolean> {
  return mountAt(await readMountTable(), mountPoint) !== undefined
}

/** Reads through the mount in a process of its own, so that a wedged mount cannot wedge the test. */
async function cat(world: CliWorld, name: string): Promise<string> {
  const { code, stdout, stderr } = await world.run('cat', [path.join(world.mountPoint, name)])
  assert.is(code, 0, stderr)
  return stdout
}

async function attach(world: CliWorld, source: string, folder = ''): Promise<void> {
  const target = path.join(world.mountPoint, folder, '.compute')
  const { code, stderr } = await world.run('dd', ['status=none', `of=${target}`], { input: source })
  assert.is(code, 0, stderr)
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries += 1) {
    assert.ok(tries < 600, 'it never came to be')
    await sleep(50)
  }
}

if (await canMount('tests of the mount command')) {
  test('serves the files, and a signal unmounts cleanly', async ({ world }) => {
    await writeFile(path.join(world.files, 'a.txt'), 'hello\n')
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const daemon = await world.mount()
      assert.is(await cat(world, 'a.txt'), 'hello\n')
      daemon.kill(signal)
      assert.is(await exit(daemon), 0)
      assert.is(await isMounted(world), false)
    }
    assert.equal(await readdir(world.files), ['a.txt'])
    assert.equal(await readdir(world.mountPoint), [])
    assert.equal(await readdir(path.join(world.scratch, 'run/mounts')), [])
  })

  test('--detach returns when it answers; unmount ends the daemon', async ({ world }) => {
    await writeFile(path.join(world.files, 'a.txt'), 'hello\n')
    const args = ['mount', world.files, world.mountPoint, '--detach', '--state', world.state]
    const mounted = await world.insitu(args)
    assert.is(mounted.code, 0, mounted.stderr)
    assert.match(mounted.stdout, /^insitu: .*files is mounted at .*mount, log in .*state\/log\n$/)
    assert.is(await cat(world, 'a.txt'), 'hello\n')

    const again = await world.insitu(args)
    assert.is(again.code, 1)
    assert.match(again.stderr, /^insitu: .* is mounted by insitu already: run "insitu unmount .*"/)

    const [report] = JSON.parse((await world.insitu(['status', '--json'])).stdout) as MountReport[]
    assert.is(report?.mountPoint, world.mountPoint)
    assert.type(report?.negotiated.passthrough, 'boolean')
    assert.equal(await world.insitu(['unmount', world.mountPoint]), {
      code: 0,
      stdout: '',
      stderr: '',
    })
    assert.is(await isMounted(world), false)
    assert.is(report === undefined || (await isAlive(report)), false)
    assert.match((await world.insitu(['status'])).stdout, /nothing is mounted/)
  })

  test('a detached mount that fails says why, in one line', async ({ world }) => {
    await world.mount()
    const other = path.join(world.scratch, 'other')
    await mkdir(other)
    const args = ['mount', world.files, other, '--detach', '--state', world.state]
    const { code, stdout, stderr } = await world.insitu(args)
    assert.match(stderr, /^insitu: the state directory .* is in use by another insitu: [^\n]*\n$/)
    assert.equal({ code, stdout }, { code: 1, stdout: '' })
  })

  test('the daemon ends when somebody else unmounts', async ({ world }) => {
    const daemon = await world.mount()
    await world.run('umount', [world.mountPoint])
    assert.is(await exit(daemon), 0)
    assert.equal(await readdir(path.join(world.scratch, 'run/mounts')), [])
  })

  test('a killed daemon’s mount is recovered, programs and results with it', async ({ world }) => {
    await writeFile(path.join(world.files, 'a.txt'), '')
    const first = await world.mount()
    await attach(world, COUNT)
    assert.is(await cat(world, '.results/count.txt'), '1')
    first.kill('SIGKILL')
    await exit(first)
    const dead = await world.run('ls', [world.mountPoint])
    assert.match(dead.stderr, /not connected/)
    assert.match((await world.insitu(['status', world.mountPoint])).stderr, /whose daemon is gone/)

    await world.mount()
    assert.is(await cat(world, '.compute'), COUNT)
    assert.is(await cat(world, '.results/count.txt'), '1')
    await writeFile(path.join(world.files, 'b.txt'), '')
    await until(async () => (await cat(world, '.results/count.txt')) === '2')
  })

  test('a dead mount is recovered through a link to it', async ({ world }) => {
    const first = await world.mount()
    first.kill('SIGKILL')
    await exit(first)
    const link = path.join(world.scratch, 'link')
    await symlink(world.mountPoint, link)
    const args = ['mount', world.files, link, '--state', world.state, '--detach']
    const { code, stderr } = await world.insitu(args)
    assert.equal({ code, stderr }, { code: 0, stderr: '' })
    assert.is((await world.insitu(['unmount', link])).code, 0)
    assert.is(await isMounted(world), false)
  })

  test('unmount takes away what a crash left', async ({ world }) => {
    const daemon = await world.mount()
    daemon.kill('SIGKILL')
    await exit(daemon)
    assert.is(await isMounted(world), true)
    assert.is((await world.insitu(['unmount', world.mountPoint])).code, 0)
    assert.is(await isMounted(world), false)
  })

  test('killed in mid-run: the last results stay, nothing half-made shows', async ({ world }) => {
    const first = await world.mount()
    await attach(world, COUNT)
    assert.is(await cat(world, '.results/count.txt'), '0')
    await attach(world, `emit('half.txt', 'x'); ${ENDLESS}`)
    await until(async () => (await cat(world, '.results/.status')).includes('"running"'))
    first.kill('SIGKILL')
    await exit(first)

    await world.mount(['--timeout', '500ms'])
    assert.match(await cat(world, '.compute'), /half/)
    const look = await world.run('cat', [path.join(world.mountPoint, '.results/half.txt')])
    assert.is(look.code, 1, 'the run is over its limit, so there is nothing to read')
    assert.is(await cat(world, '.results/.last/count.txt'), '0')
    assert.equal(await readdir(world.files), [])
  })

  test('status, wait and logs tell of a program', async ({ world }) => {
    await world.mount(['--timeout', '1s'])
    const { mountPoint } = world
    for (const command of ['wait', 'logs'])
      assert.match((await world.insitu([command, mountPoint])).stderr, /no program is attached/)
    assert.match((await world.insitu(['status', mountPoint])).stdout, /no program is attached/)

    await attach(world, `console.log('counting')\n${COUNT}`)
    const waited = await world.insitu(['wait', mountPoint, '--json'])
    assert.is(waited.code, 0, waited.stderr)
    assert.is((JSON.parse(waited.stdout) as { state: string }).state, 'ok')
    assert.is((await world.insitu(['logs', mountPoint])).stdout, 'counting\n')
    // Any name on the mount will do.
    const status = await world.insitu(['status', path.join(mountPoint, '.results/count.txt')])
    assert.match(status.stdout, /state +ok/, status.stdout + status.stderr)
    assert.match(status.stdout, /count\.txt \(1 B\)/)

    await attach(world, "throw new TypeError('no such column')")
    const failed = await world.insitu(['wait', mountPoint])
    assert.is(failed.code, 3)
    assert.match(failed.stderr, /^insitu: \.compute:1:\d+: TypeError: no such column\n$/)

    await attach(world, ENDLESS)
    const over = await world.insitu(['wait', mountPoint])
    assert.is(over.code, 5, over.stderr)
  })

  test('wait gives up when told to, and status --watch follows', async ({ world }) => {
    await world.mount()
    const { mountPoint } = world
    await attach(world, ENDLESS)
    const early = await world.insitu(['wait', mountPoint, '--timeout', '100ms'])
    assert.match(
      early.stderr,
      /^insitu: no fresh results of [^\n]* in time: try a longer --timeout\n$/,
    )
    assert.is(early.code, 124)
    const watch = world.start(['status', mountPoint, '--watch', '--json'])
    await until(() => Promise.resolve(watch.output().includes('"state":"running"')))
    await world.insitu(['program', 'cancel', mountPoint])
    await until(() => Promise.resolve(watch.output().includes('"state":"cancelled"')))
    watch.child.kill('SIGINT')
    await exit(watch.child)
  })

  test('logs -f shows what comes, until interrupted', async ({ world }) => {
    await world.mount()
    await attach(world, "console.log('first')")
    await world.insitu(['wait', world.mountPoint])
    const follow = world.start(['logs', '-f', world.mountPoint])
    await follow.says('first\n')
    await attach(world, "console.log('second')")
    await follow.says('first\nsecond\n')
    follow.child.kill('SIGINT')
    assert.is(await exit(follow.child), null)
    assert.is(follow.child.signalCode, 'SIGINT')
  })

  test('programs are listed, exported, imported and cancelled', async ({ world }) => {
    await world.mount()
    const { mountPoint } = world
    for (const name of ['a', 'b/c']) await mkdir(path.join(world.files, name), { recursive: true })
    await attach(world, COUNT, 'a')
    await attach(world, '"ä"', 'b/c')
    const listed = await world.insitu(['program', 'list', mountPoint, '--json'])
    const programs = JSON.parse(listed.stdout) as { path: string }[]
    assert.equal(programs.map((each) => each.path).toSorted(), ['a', 'b/c'])
    assert.match((await world.insitu(['program', 'list'])).stdout, /b\/c +\w+ +0 +4 B/)

    const archive = path.join(world.scratch, 'programs.json')
    const below = path.join(mountPoint, 'b')
    assert.is((await world.insitu(['program', 'export', below, '-o', archive])).code, 0)
    assert.match(await readFile(archive, 'utf8'), /"path": "c"/)
    await rm(path.join(world.files, 'b/c'), { recursive: true })
    await mkdir(path.join(world.files, 'a/c'))
    const imported = await world.insitu(['program', 'import', archive, path.join(mountPoint, 'a')])
    assert.equal(imported, { code: 0, stdout: 'a/c: attached\n', stderr: '' })
    assert.is(await cat(world, 'a/c/.results/result'), 'ä')
    const nowhere = await world.insitu(['program', 'import', archive, below])
    assert.is(nowhere.code, 1)
    assert.match(nowhere.stderr, /^insitu: b\/c was not attached: [^\n]+\n$/)

    await attach(world, ENDLESS, 'a')
    await until(async () => (await cat(world, 'a/.results/.status')).includes('"running"'))
    assert.is((await world.insitu(['program', 'cancel', path.join(mountPoint, 'a')])).code, 0)
    await until(async () => (await cat(world, 'a/.results/.status')).includes('"cancelled"'))
  })

  test('another user cannot ask the daemon', async ({ world }) => {
    await world.allowEveryone()
    await world.mount(['--allow-other'])
    const as = ['--reuid=65534', '--regid=65534', '--clear-groups', '--']
    const { code, stderr } = await world.run('setpriv', [
      ...as,
      path.resolve('bin/insitu'),
      'program',
      'list',
      world.mountPoint,
    ])
    assert.is(code, 1)
    assert.match(stderr, /only the user who mounted it and root may ask/)
  })
}

test.run()
