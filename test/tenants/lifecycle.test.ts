/** Tenants that come and go by command, and what they are granted, with the daemon that really serves. */
import { access, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, type Finished } from '../support/cli.ts'
import { ServeWorld } from '../support/serve-world.ts'

const test = suite<{ world: ServeWorld }>('tenants')

test.before.each(async (context) => {
  context.world = await ServeWorld.create()
  await writeFile(path.join(await context.world.directory('data'), 'f'), 'data\n')
  await writeFile(path.join(await context.world.directory('more'), 'g'), 'more\n')
  await context.world.configure(`tenants: { acme: { ids: 70000-70999 } }
volumes:
  data: { path: ${context.world.scratch}/data }
  more: { path: ${context.world.scratch}/more }
policies:
  all: { tenants: ["*"], volumes: { names: ["*"] }, modes: [ro, rw] }
`)
})
test.after.each(async ({ world }) => {
  await world.close()
})

function tenant(world: ServeWorld, ...args: string[]): Promise<Finished> {
  return world.insitu(['tenant', ...args])
}

async function grant(world: ServeWorld, at: string, volume = 'data'): Promise<Finished> {
  const socket = world.socket('acme')
  const body = JSON.stringify({ volume, at, mode: 'rw' })
  return await world.run('curl', [
    ...['--silent', '--fail-with-body', '--unix-socket', socket],
    ...['http://localhost/mount', '--json', body],
  ])
}

async function list(world: ServeWorld, at: string): Promise<string> {
  const { code, stdout, stderr } = await world.run('ls', [path.join(world.home('acme'), at)])
  return code === 0 ? stdout.trim().replaceAll('\n', ' ') : stderr
}

async function gone(place: string): Promise<boolean> {
  return await access(place).then(
    () => false,
    () => true,
  )
}

if (await canMount('tests of tenants')) {
  test('a volume shows where it was asked for, and outlives the daemon', async ({ world }) => {
    const served = await world.serve()
    const granted = await grant(world, 'shared/deep/data')
    assert.is(granted.code, 0, granted.stdout)
    assert.is(await list(world, 'shared/deep/data'), 'f')
    const shared = await stat(path.join(world.state, 'tenants/acme/home/shared/deep'))
    assert.is(shared.uid, 70_000, 'what was made on the way is the tenant’s')
    // Into the volume, and so into its backing.
    const nested = await grant(world, 'shared/deep/data/sub/more', 'more')
    assert.is(nested.code, 0, nested.stdout)
    assert.is(await list(world, 'shared/deep/data/sub/more'), 'g')
    assert.equal(await readdir(path.join(world.scratch, 'data')), ['f', 'sub'])

    await world.kill(served, 'SIGKILL')
    await world.serve()
    assert.is(await list(world, 'shared/deep/data'), 'f sub')
    assert.is(await list(world, 'shared/deep/data/sub/more'), 'g')
  })

  test('no way leads over links, files, reserved names or what is there', async ({ world }) => {
    await world.serve()
    const home = path.join(world.state, 'tenants/acme/home')
    const outside = await world.directory('outside')
    await symlink(outside, path.join(home, 'link'))
    await writeFile(path.join(home, 'file'), '')
    await mkdir(path.join(home, 'full/x'), { recursive: true })
    for (const at of ['link/a', 'link', 'file/a', 'file', 'full', '.compute/a', '../a', 'a//b'])
      assert.is.not((await grant(world, at)).code, 0, at)
    assert.equal(await readdir(outside), [])
    assert.is((await grant(world, 'full/y')).code, 0)
  })

  test('one is added and removed while the daemon runs, with its data or without', async ({
    world,
  }) => {
    const served = await world.serve()
    const added = await tenant(world, 'add', 'beta', '--ids', '80000', '--label', 'a=b')
    assert.is(added.code, 0, added.stderr)
    const places = [world.home('beta'), world.socket('beta')]
    for (const place of places) assert.is(await gone(place), false, place)
    await world.run('touch', [path.join(world.home('beta'), 'kept')])

    const overlapping = await tenant(world, 'add', 'gamma', '--ids', '79999-80000')
    assert.is(overlapping.code, 2)
    assert.ok(overlapping.stderr.includes('overlap'), overlapping.stderr)
    assert.is((await tenant(world, 'add', 'beta', '--ids', '90000')).code, 1)

    // It is there again after a crash.
    await world.kill(served, 'SIGKILL')
    await world.serve()
    const shown = await tenant(world, 'show', 'beta', '--json')
    const { state, labels } = JSON.parse(shown.stdout) as { state: string; labels: object }
    assert.is(state, 'serving')
    assert.equal(labels, { a: 'b' })

    assert.is((await tenant(world, 'remove', 'beta')).code, 2, 'nobody was asked')
    const removed = await tenant(world, 'remove', 'beta', '--yes')
    assert.is(removed.code, 0, removed.stderr)
    for (const place of places) assert.ok(await gone(place), place)
    const home = path.join(world.state, 'tenants/beta/home')
    assert.equal(await readdir(home), ['kept'])

    const other = await tenant(world, 'add', 'beta', '--ids', '81000')
    assert.ok(other.stderr.includes('earlier tenant'), other.stderr)
    assert.is((await tenant(world, 'add', 'beta', '--ids', '80000')).code, 0)
    assert.is((await tenant(world, 'remove', 'beta', '--purge', '--yes')).code, 0)
    assert.ok(await gone(path.join(world.state, 'tenants/beta')))
  })

  test('one of the file is removed there, and read again by command', async ({ world }) => {
    await world.serve()
    const refused = await tenant(world, 'remove', 'acme', '--yes')
    assert.is(refused.code, 1)
    assert.ok(refused.stderr.includes('configuration file'), refused.stderr)
    await world.configure('tenants: {}\n')
    const reload = ['config', 'reload']
    const read = await world.insitu(reload)
    assert.is(read.code, 0, read.stderr)
    assert.equal(await world.mounts(), [])
    await world.configure('tenants: 3\n')
    const mistaken = await world.insitu(reload)
    assert.is(mistaken.code, 1)
    assert.ok(mistaken.stderr.includes('insitu.yaml:3:1: tenants'), mistaken.stderr)
  })
}

test.run()
