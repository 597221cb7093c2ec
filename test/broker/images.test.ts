/** Volumes that are images: made, mounted, kept, taken away; and what a crash leaves of them. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Images } from '../../src/broker/storage/images.ts'
import { Store } from '../../src/broker/store/index.ts'
import type { Image, Volume } from '../../src/broker/types.ts'
import { asks, nobody, refusal } from '../support/broker-world.ts'
import { ImageWorld, MiB, SMALL } from '../support/image-world.ts'
import { command, haveLoopDevices } from '../support/loop-devices.ts'

const test = suite('images')

const nothing = { mounts: [], loops: [] }

test('an image is as large as it was made, and stays so', async () => {
  await using world = await ImageWorld.create()
  const backing = await world.create('small')
  assert.equal(world.standing.mounts, [world.images.point('small')])
  assert.is(statSync(backing).uid, 1_234)
  assert.is(statSync(backing).gid, 1_235)
  const file = statSync(world.images.file('small'))
  assert.is(file.size, SMALL.sizeBytes)
  assert.ok(file.blocks * 512 >= SMALL.sizeBytes, 'its space is not taken')
  assert.is(file.mode & 0o077, 0)
  assert.ok(world.state('small')?.healthy)
  assert.ok((world.state('small')?.totalBytes ?? 0) <= SMALL.sizeBytes)
  const full = spawnSync('dd', ['if=/dev/zero', `of=${backing}/fill`, 'bs=1M', 'count=64'])
  assert.match(full.stderr.toString(), /No space left/)
  const options = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes(world.images.point('small')))
  assert.match(options ?? '', /nosuid,nodev/)

  await world.broker.release()
  assert.equal(world.standing, nothing)
  assert.ok(existsSync(world.images.file('small')))
  await world.restart()
  assert.ok(existsSync(path.join(backing, 'fill')))
})

test('removed without its data it is there again; purged it is gone', async () => {
  await using world = await ImageWorld.create()
  const backing = await world.create('small')
  writeFileSync(path.join(backing, 'kept'), 'x')
  assert.ok(await world.broker.catalog.removeVolume('small', false, nobody))
  assert.equal(world.standing, nothing)
  assert.not.ok(existsSync(world.images.point('small')))
  assert.is(await refusal(world.create('small', { ...SMALL, sizeBytes: 64 * MiB })), 'exists')
  await world.create('small')
  assert.is(readFileSync(path.join(backing, 'kept'), 'utf8'), 'x')
  assert.is(await refusal(world.create('small', { ...SMALL, sizeBytes: 64 * MiB })), 'exists')
  assert.ok(await world.broker.catalog.removeVolume('small', true, nobody))
  assert.equal(world.standing, nothing)
  assert.not.ok(existsSync(world.images.file('small')))
  assert.is(await world.broker.catalog.removeVolume('small', true, nobody), false)
})

test('what cannot be made leaves nothing', async () => {
  await using world = await ImageWorld.create()
  const huge = { ...SMALL, sizeBytes: 2 ** 50 }
  assert.match(await refusal(world.create('huge', huge)), /not-enough-space|not-possible/)
  assert.is(await refusal(world.create('tiny', { ...SMALL, sizeBytes: 4_096 })), 'bad-request')
  assert.is(
    await refusal(world.create('odd', { ...SMALL, sizeBytes: 32 * MiB + 1 })),
    'bad-request',
  )
  assert.equal(world.standing, nothing)
  for (const name of ['huge', 'tiny', 'odd']) {
    assert.is(world.state(name), undefined)
    assert.not.ok(existsSync(world.images.file(name)))
    assert.not.ok(existsSync(world.images.draft(name)))
  }
})

/** How far a daemon came before it was killed. */
const STEPS: Readonly<
  Record<string, (images: Images, volume: Volume & { image: Image }) => Promise<void>>
> = {
  'only the intent': async () => {},
  'a half file': async (images, { name }) => writeFileSync(images.draft(name), 'half'),
  'the file': (images, { name, image }) => images.make(name, image),
  mounted: async (images, volume) => {
    await images.make(volume.name, volume.image)
    await images.mount(volume)
  },
}

for (const [step, reach] of Object.entries(STEPS))
  test(`killed while making, ${step} is undone`, async () => {
    await using world = await ImageWorld.create()
    const volume = world.volume('half')
    const store = new Store(world.world.file)
    store.intents.begin({ volume, what: 'make', keepData: false })
    store.close()
    await reach(world.images, volume)
    await world.restart()
    assert.equal(world.standing, nothing)
    assert.not.ok(existsSync(world.images.file('half')))
    assert.not.ok(existsSync(world.images.draft('half')))
    assert.is(world.state('half'), undefined)
    await world.create('half')
    assert.ok(world.state('half')?.healthy)
  })

for (const keepData of [true, false])
  test(`killed while removing ${keepData ? 'and keeping' : 'with'} its data, it goes`, async () => {
    await using world = await ImageWorld.create()
    await world.create('going')
    const store = new Store(world.world.file)
    store.intents.begin({ volume: world.volume('going'), what: 'remove', keepData })
    store.close()
    await world.restart()
    assert.equal(world.standing, nothing)
    assert.is(existsSync(world.images.file('going')), keepData)
    assert.is(world.state('going'), undefined)
  })

test('killed while it serves: mounted still, and frozen no more', async () => {
  await using world = await ImageWorld.create()
  const backing = await world.create('alive')
  command('fsfreeze', '--freeze', world.images.point('alive'))
  const before = world.standing
  await world.restart()
  assert.equal(world.standing, before)
  // In a process of its own: were it frozen, it would wait.
  const write = spawnSync('timeout', ['5', 'touch', path.join(backing, 'thawed')])
  assert.is(write.status, 0)
})

test('taken away by somebody it comes back, on one device', async () => {
  await using world = await ImageWorld.create()
  const backing = await world.create('shaky')
  // Something of it stays open, so its device lives.
  const holder = spawnSync('true')
  assert.is(holder.status, 0)
  writeFileSync(path.join(backing, 'here'), 'x')
  command('umount', '--lazy', world.images.point('shaky'))
  assert.not.ok(existsSync(backing))
  await world.broker.look()
  assert.ok(world.state('shaky')?.healthy)
  assert.ok(existsSync(path.join(backing, 'here')))
  assert.equal(world.standing.loops, [world.images.file('shaky')])
})

test('one whose file is gone is not well, and says so', async () => {
  await using world = await ImageWorld.create()
  await world.create('lost')
  await world.broker.release()
  command('rm', world.images.file('lost'))
  await world.restart()
  assert.is(world.state('lost')?.healthy, false)
  assert.match(world.state('lost')?.fault ?? '', /file is gone/)
  await world.world.tenant('acme')
  const attempt = world.broker.mount('acme', asks('x', { volume: 'lost' }), world.world.by)
  assert.is(await refusal(attempt), 'unhealthy')
})

test('one of the configuration is made once, unmounted when it leaves, and kept', async () => {
  await using world = new ImageWorld()
  const configured = [world.volume('declared')]
  await world.start(configured)
  assert.ok(world.state('declared')?.healthy)
  writeFileSync(path.join(world.images.backing('declared'), 'kept'), 'x')
  await world.broker.configure({ volumes: [], policies: [] })
  assert.equal(world.standing, nothing)
  await world.broker.configure({ volumes: configured, policies: [] })
  assert.ok(existsSync(path.join(world.images.backing('declared'), 'kept')))
  const larger = world.volume('declared', { ...SMALL, sizeBytes: 64 * MiB })
  await world.broker.configure({ volumes: [larger], policies: [] })
  assert.match(world.state('declared')?.fault ?? '', /keeps its size/)
})

test('read-only under a grant: no more is given for writing', async () => {
  await using world = await ImageWorld.create()
  await world.create('stuck')
  await world.world.tenant('acme')
  command('mount', '-o', 'remount,ro', world.images.point('stuck'))
  await world.broker.look()
  assert.is(world.state('stuck')?.readOnly, true)
  const wants = (at: string, mode: 'ro' | 'rw') =>
    refusal(world.broker.mount('acme', asks(at, { volume: 'stuck', mode }), world.world.by))
  assert.is(await wants('a', 'rw'), 'unhealthy')
  assert.is(await wants('b', 'ro'), 'none')
})

if (haveLoopDevices('mkfs.ext4', 'mkfs.xfs')) test.run()
