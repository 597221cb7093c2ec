/**
 * Far more grafts than the server may have descriptors: each is kept by file handle, also the directory
 * that its point stands in. What a handle names is that object, and never what took its number.
 */
import * as fs from 'node:fs/promises'
import { constants } from 'node:os'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { graftSuite } from '../support/graft-mount.ts'

const { ESTALE } = constants.errno
const test = graftSuite('many grafts')

const LONG = process.env['INSITU_LONG'] === '1'
const GRAFTS = LONG ? 10_000 : 1_500
const DESCRIPTORS = LONG ? 4_096 : 512

test(
  `${GRAFTS} grafts under a limit of ${DESCRIPTORS} descriptors`,
  async (mount) => {
    const trees = mount.tree('trees')
    const numbers = Array.from({ length: GRAFTS }, (_, n) => n)
    /** Every other one in a directory of its own. */
    const placeOf = (n: number): string => (n % 2 === 0 ? 'common' : `own/${n}`)
    await fs.mkdir(path.join(mount.backing, 'common'))
    for (const n of numbers) {
      await fs.mkdir(path.join(trees, String(n)))
      await fs.writeFile(path.join(trees, String(n), 'number'), String(n))
      await fs.mkdir(path.join(mount.backing, placeOf(n)), { recursive: true })
    }
    const grafts: number[] = []
    for (const n of numbers)
      grafts.push(
        await mount.graft({
          at: placeOf(n),
          name: `g${n}`,
          backing: trees,
          subpath: String(n),
          readOnly: n % 3 === 0,
          revocable: true,
        }),
      )
    const seen = async (n: number): Promise<string> => {
      const file = path.join(mount.mountPoint, placeOf(n), `g${n}`, 'number')
      return await fs.readFile(file, 'utf8')
    }
    for (const n of numbers) assert.is(await seen(n), String(n))
    assert.is((await fs.readdir(path.join(mount.mountPoint, 'common'))).length, GRAFTS / 2)
    const held = (await fs.readdir(`/proc/${mount.child.pid}/fd`)).length
    assert.ok(held < DESCRIPTORS / 2, `${held} descriptors`)

    const file = await fs.open(path.join(mount.mountPoint, placeOf(7), 'g7', 'number'), 'r+')
    for (const n of [7, 8, 9]) {
      await mount.revoke(grafts[n] ?? 0)
      assert.is(await seen(n).catch((error: { code: string }) => error.code), 'ENOENT')
    }
    assert.is(await file.stat().catch((error: { errno: number }) => -error.errno), ESTALE)
    await file.close().catch(() => undefined)
    assert.is(await seen(6), '6')
    assert.is(await seen(11), '11')
  },
  { descriptors: DESCRIPTORS },
)

test('read-only ones of one volume share a clone, and only one that is as it is now', async (mount) => {
  const volume = mount.tree('volume')
  for (const name of ['a', 'b', 'c']) await fs.mkdir(path.join(volume, name))
  await fs.mkdir(path.join(volume, 'c', 'below'))
  const graft = (name: string): Promise<number> =>
    mount.graft({ name, backing: volume, subpath: name, readOnly: true, revocable: true })
  await graft('a')
  await graft('b')
  // Mounted since: what is granted now shows it.
  mount.tmpfs('volume/c/below/there')
  await fs.writeFile(path.join(volume, 'c/below/there/file'), 'new')
  await graft('c')
  const inside = path.join(mount.mountPoint, 'c/below/there/file')
  assert.is(await fs.readFile(inside, 'utf8'), 'new')
  const refused = await fs.writeFile(inside, 'x').catch((error: { code: string }) => error.code)
  assert.is(refused, 'EROFS')
})

test('a directory that got the number of a removed one has no point', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'file'), 'granted')
  await fs.mkdir(path.join(mount.backing, 'parent'))
  await mount.graft({ at: 'parent', name: 'data', backing: tree, revocable: true })
  const before = await fs.stat(path.join(mount.backing, 'parent'))
  // Behind the mount, where nothing refuses it.
  await fs.rm(path.join(mount.backing, 'parent'), { recursive: true })
  await fs.mkdir(path.join(mount.backing, 'another'))
  const after = await fs.stat(path.join(mount.backing, 'another'))
  if (after.ino !== before.ino) return console.log('SKIP the number was not used again here')
  await fs.mkdir(path.join(mount.backing, 'another', 'data'))
  await new Promise((resolve) => setTimeout(resolve, 1_100)) // what the kernel may believe
  assert.equal(await fs.readdir(path.join(mount.mountPoint, 'another', 'data')), [])
})

test('what was removed behind it is stale, and may be revoked', async (mount) => {
  const tree = mount.tree('tree')
  const graft = await mount.graft({ name: 'data', backing: tree, revocable: true })
  await fs.rmdir(tree)
  await fs.mkdir(tree)
  await fs.writeFile(path.join(tree, 'file'), 'of another directory')
  const at = path.join(mount.mountPoint, 'data')
  assert.is(await fs.readdir(at).catch((error: { errno: number }) => -error.errno), ESTALE)
  await mount.revoke(graft)
  assert.is(await fs.readdir(at).catch((error: { code: string }) => error.code), 'ENOENT')
})

test.run()
