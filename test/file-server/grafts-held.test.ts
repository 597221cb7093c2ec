/** One process holds a directory's lock and does not let go: what is told to the kernel waits behind it. */
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { DirectoryLock } from '../support/directory-lock.ts'
import { graftSuite } from '../support/graft-mount.ts'
import { until } from '../support/mounted.ts'

const test = graftSuite('grafts: a directory that is held')

test('the others go on, and the status says for how long', async (mount) => {
  const [one, two] = [mount.tree('one'), mount.tree('two')]
  await fs.writeFile(path.join(two, 'file'), 'two')
  await fs.mkdir(path.join(mount.backing, 'held'))
  const noticeMs = async () => (await mount.statistics()).noticeMs
  assert.is(await noticeMs(), 0)
  {
    await using _ = await DirectoryLock.hold(path.join(mount.mountPoint, 'held'))
    // The kernel has to be told of the name in there.
    await mount.graft({ at: 'held', name: 'one', backing: one, revocable: true })
    await until('it is held up', async () => (await noticeMs()) > 1_000)
    await mount.graft({ name: 'two', backing: two, revocable: true })
    assert.is(await fs.readFile(path.join(mount.mountPoint, 'two', 'file'), 'utf8'), 'two')
    assert.ok((await noticeMs()) > 1_000)
  }
  await until('it goes on', async () => (await noticeMs()) === 0)
  assert.equal(await fs.readdir(path.join(mount.mountPoint, 'held')), ['one'])
})

test.run()
