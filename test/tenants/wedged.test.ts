/** A backing that hangs holds up its own tenant, and nobody else. */
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount } from '../support/cli.ts'
import { mountHanging } from '../support/hanging-fuse.ts'
import { ServeWorld } from '../support/serve-world.ts'

const test = suite('wedged backings')

if (await canMount('tests of wedged backings')) {
  test('others work, are added, granted to and removed meanwhile', async () => {
    const world = await ServeWorld.create()
    const homes = await Promise.all(['one', 'two', 'three'].map((name) => world.directory(name)))
    await world.directory('data')
    const hanging = await Promise.all(homes.map((home) => mountHanging(home)))
    try {
      const tenants = homes.map((home, at) => `  w${at}: { ids: ${80_000 + at}, home: ${home} }\n`)
      await world.configure(`tenants:
  acme: { ids: 70000 }
${tenants.join('')}volumes: { data: { path: ${world.scratch}/data } }
policies: { all: { tenants: ["*"], volumes: { names: ["*"] }, modes: [rw] } }
`)
      const served = await world.serve()
      for (const each of hanging) each.hang()
      // More in each than it has threads, and than libuv has; none of them ends.
      const stuck = homes.flatMap((_, at) =>
        Array.from({ length: 8 }, (_, n) =>
          world.run('ls', [path.join(world.home(`w${at}`), `d${n}`)], 60_000),
        ),
      )
      let freed = 0
      for (const each of stuck) void each.then(() => (freed += 1))
      // And what the daemon does for it off the event loop: grafts walk through the home.
      const grants = homes.map((_, at) => grant(world, `w${at}`, 60_000))

      const home = world.home('acme')
      const said = await world.run('sh', [
        '-c',
        `mkdir ${home}/d && echo x > ${home}/d/f && cat ${home}/d/f`,
      ])
      assert.is(said.stdout, 'x\n', said.stderr)
      const granted = await grant(world, 'acme')
      assert.is(granted.code, 0, granted.stdout)
      const ran = await world.run('sh', [
        '-c',
        `echo 'export default (dir) => [...dir.files("*")].length' > ${home}/d/.compute &&
         cat ${home}/d/.results/result`,
      ])
      assert.is(ran.stdout.trim(), '1', ran.stderr)
      assert.is((await world.insitu(['tenant', 'add', 'beta', '--ids', '90000'])).code, 0)
      const removed = await world.insitu(['tenant', 'remove', 'beta', '--yes', '--purge'])
      assert.is(removed.code, 0, removed.stderr)

      assert.is(freed, 0, 'they hang still')
      for (const each of hanging) await each[Symbol.asyncDispose]()
      await Promise.all([...stuck, ...grants])
      await world.kill(served, 'SIGTERM')
      assert.equal(await world.mounts(), [])
    } finally {
      for (const each of hanging) await each[Symbol.asyncDispose]()
      await world.close()
    }
  })
}

function grant(world: ServeWorld, tenant: string, deadlineMs?: number) {
  const socket = world.socket(tenant)
  return world.run(
    'curl',
    [
      ...['--silent', '--fail-with-body', '--unix-socket', socket, 'http://localhost/mount'],
      ...['--json', '{"volume":"data","at":"granted","mode":"rw"}'],
    ],
    deadlineMs,
  )
}

test.run()
