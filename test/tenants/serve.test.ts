/** The daemon of many tenants as an operator runs it. */
import { access, readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount } from '../support/cli.ts'
import { ServeWorld, until } from '../support/serve-world.ts'

const test = suite<{ world: ServeWorld }>('serve')

test.before.each(async (context) => {
  context.world = await ServeWorld.create()
})
test.after.each(async ({ world }) => {
  await world.close()
})

const TWO = 'tenants:\n  acme: { ids: 70000-70999 }\n  beta: { ids: 71000 }\n'

if (await canMount('tests of serve')) {
  test('each tenant has a home of its own, and a signal ends all cleanly', async ({ world }) => {
    await world.configure(TWO)
    const served = await world.serve()
    assert.equal(await world.mounts(), [world.home('acme'), world.home('beta')])
    const { stdout } = await world.run('stat', ['-c', '%u:%g %a', world.home('acme')])
    assert.is(stdout, '70000:70000 700\n')
    const written = await world.run('setpriv', [
      ...['--reuid=70000', '--regid=70000', '--clear-groups'],
      ...['sh', '-c', `echo hello > ${world.home('acme')}/a; ls ${world.home('beta')}`],
    ])
    assert.ok(written.stderr.includes('Permission denied'), 'into another’s home')
    const backing = path.join(world.state, 'tenants/acme/home/a')
    assert.is(await readFile(backing, 'utf8'), 'hello\n')
    assert.ok((await stat(path.join(world.runtime, 'tenants/acme'))).isDirectory())
    const status = await world.insitu(['status'])
    for (const tenant of ['acme', 'beta']) assert.ok(status.stdout.includes(world.home(tenant)))
    assert.match(status.stdout, /tenant acme, serving/)
    assert.is(await world.kill(served, 'SIGTERM'), 0)
    assert.equal(await world.mounts(), [])
    assert.is(await readFile(backing, 'utf8'), 'hello\n')
  })

  test('programs run, each tenant’s for itself', async ({ world }) => {
    await world.configure(TWO)
    await world.serve()
    for (const tenant of ['acme', 'beta']) {
      const home = world.home(tenant)
      const said = await world.run('sh', [
        '-c',
        `echo 'export default (dir) => [...dir.files("*.txt")].length' > ${home}/.compute &&
         touch ${home}/${tenant}.txt && cat ${home}/.results/result`,
      ])
      assert.is(said.stdout.trim(), '1', said.stderr)
    }
  })

  test('a killed daemon’s dead mounts are taken away', async ({ world }) => {
    await world.configure(TWO)
    await world.kill(await world.serve(), 'SIGKILL')
    assert.is((await world.mounts()).length, 2)
    // Nobody names beta any more; its mount goes all the same.
    await world.configure('tenants: { acme: { ids: 70000-70999 } }\n')
    const served = await world.serve()
    assert.equal(await world.mounts(), [world.home('acme')])
    const { code } = await world.run('touch', [path.join(world.home('acme'), 'a')])
    assert.is(code, 0)
    await world.kill(served, 'SIGTERM')
  })

  test('a second daemon on the same state is refused', async ({ world }) => {
    await world.configure(TWO)
    await world.serve()
    const second = await world.insitu(['serve', '--config', world.file])
    assert.is(second.code, 1)
    assert.ok(second.stderr.includes('in use by another insitu'), second.stderr)
    // A tenant's part of it neither.
    const [from, to] = [await world.directory('from'), await world.directory('to')]
    const compute = path.join(world.state, 'tenants/acme/compute')
    const mount = await world.insitu(['mount', from, to, '--state', compute])
    assert.is(mount.code, 1)
    assert.ok(mount.stderr.includes('in use by another insitu'), mount.stderr)
  })

  test('commands that look at files look at them in a tenant’s mount too', async ({ world }) => {
    await world.configure(TWO)
    const served = await world.serve()
    const home = world.home('acme')
    const status = await world.insitu(['status', home])
    assert.equal([status.code, status.stdout.includes('no program is attached')], [0, true])
    const listed = await world.insitu(['program', 'list', home])
    assert.equal([listed.code, listed.stderr.includes('mount of a tenant')], [1, true])
    await world.kill(served, 'SIGKILL')
    const dead = await world.insitu(['status', home])
    assert.ok(dead.stderr.includes('whose daemon is gone'), dead.stderr)
  })

  test('SIGHUP makes the difference and nothing else', async ({ world }) => {
    await world.configure(TWO)
    const served = await world.serve()
    const device = async (tenant: string): Promise<string> =>
      (await world.run('stat', ['-c', '%d', world.home(tenant)])).stdout
    const before = await device('acme')

    await world.configure(
      'tenants:\n  acme: { ids: 70000-70999, labels: { kind: x } }\n  gamma: { ids: 72000 }\n',
    )
    served.child.kill('SIGHUP')
    await until(() => served.log().includes('read the configuration again'))
    assert.equal(await world.mounts(), [world.home('acme'), world.home('gamma')])
    assert.is(await device('acme'), before, 'it was not mounted anew')
    // What a tenant leaves is kept, and there again when it comes back.
    await access(path.join(world.state, 'tenants/beta/home'))

    await writeFile(world.file, 'tenants: { acme: { idz: 1 } }\n')
    served.child.kill('SIGHUP')
    await until(() => served.log().includes('everything stays as it was'))
    assert.ok(served.log().includes('insitu.yaml:1:20: tenants.acme.idz: unknown key'))
    assert.equal(await world.mounts(), [world.home('acme'), world.home('gamma')])
  })

  test('one that cannot be served leaves the others alone, and is tried again', async ({
    world,
  }) => {
    const home = path.join(world.scratch, 'later')
    await world.configure(`${TWO}  late: { ids: 72000, home: ${home} }\n`)
    const served = await world.serve()
    assert.is((await world.mounts()).length, 2)
    assert.ok(served.log().includes('a tenant is not served'), served.log())
    await world.directory('later')
    await until(async () => (await world.mounts()).length === 3)
  })

  test('a mount that somebody took away comes back', async ({ world }) => {
    await world.configure(TWO)
    await world.serve()
    await world.run('umount', [world.home('acme')])
    await until(async () => (await world.mounts()).length === 2)
    const { code } = await world.run('touch', [path.join(world.home('acme'), 'a')])
    assert.is(code, 0)
  })
}

test.run()
