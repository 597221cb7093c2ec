/** A backing that hangs does not keep what the daemon mounted for others. */
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount } from '../support/cli.ts'
import { mountHanging } from '../support/hanging-fuse.ts'
import { ServeWorld, until } from '../support/serve-world.ts'

const test = suite('stopping beside a wedged backing')

if (await canMount('a stop beside a wedged backing'))
  test('the others are unmounted at once; the daemon ends with what it waits for', async () => {
    const world = await ServeWorld.create()
    const home = await world.directory('one')
    const hanging = await mountHanging(home)
    try {
      await world.configure(`tenants:
  acme: { ids: 70000 }
  w0: { ids: 80000, home: ${home} }
`)
      const served = await world.serve()
      hanging.hang()
      const stuck = Array.from({ length: 8 }, (_, n) =>
        world.run('ls', [path.join(world.home('w0'), `d${n}`)], 60_000),
      )
      assert.is((await world.run('ls', [world.home('acme')])).code, 0)
      const ended = world.kill(served, 'SIGTERM')
      await until(async () => !(await world.mounts()).includes(world.home('acme')))
      // The kernel ends no thread that waits for another file server's answer.
      await hanging[Symbol.asyncDispose]()
      assert.is(await ended, 0)
      assert.equal(await world.mounts(), [])
      for (const each of await Promise.all(stuck)) assert.is.not(each.code, 0)
    } finally {
      await hanging[Symbol.asyncDispose]()
      await world.close()
    }
  })

test.run()
