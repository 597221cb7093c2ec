/** Grants over a fake mount: given once, taken away wholly, kept over restarts. */
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { GrantEvent } from '../../src/broker/events.ts'
import { asks, BrokerWorld, nobody, policyNamed, refusal } from '../support/broker-world.ts'

const test = suite<{ world: BrokerWorld }>('grants')

test.before.each(async (context) => {
  context.world = await BrokerWorld.create()
})
test.after.each(({ world }) => world.close())

const now = { force: false, waitMs: 0, signal: undefined }
const force = { ...now, force: true }

test('gives what was asked for, and takes it back', async ({ world }) => {
  const { broker, acme, by } = world
  const { grant, created } = await broker.mount('acme', asks('a/b', { subpath: 'x' }), by)
  assert.ok(created)
  assert.equal(acme.at('a/b')?.options, {
    readOnly: true,
    revocable: true,
    quotaBytes: undefined,
    compute: false,
  })
  assert.is(acme.at('a/b')?.source.subpath, 'x')
  assert.equal(
    broker.grants('acme').map(({ id, state }) => [id, state]),
    [[grant.id, 'active']],
  )
  assert.is((await broker.unmount('acme', { at: 'a/b' }, now, nobody))?.id, grant.id)
  assert.equal(acme.paths, [])
  assert.equal(broker.grants(), [])
  // Again: there is nothing, which is what was asked for.
  assert.is(await broker.unmount('acme', { at: 'a/b' }, now, nobody), undefined)
  const audit = broker.store.audit
    .list({ limit: 10 })
    .map(({ action, outcome }) => [action, outcome])
  assert.equal(audit, [
    ['unmount', 'done'],
    ['mount', 'done'],
  ])
})

test('of a thousand mounts of one path one wins', async ({ world }) => {
  const { broker, acme, by } = world
  const codes = await Promise.all(
    Array.from({ length: 1_000 }, () => refusal(broker.mount('acme', asks('one'), by))),
  )
  assert.is(codes.filter((code) => code === 'none').length, 1)
  assert.is(codes.filter((code) => code === 'at-taken').length, 999)
  assert.equal(acme.paths, ['one'])
  assert.is(acme.calls.length, 1)
})

test('the same request by its key is the same grant', async ({ world }) => {
  const { broker, by } = world
  const keyed = { ...by, key: 'k' }
  const [one, other] = await Promise.all([
    broker.mount('acme', asks('a'), keyed),
    broker.mount('acme', asks('a'), keyed),
  ])
  assert.is(one.grant.id, other.grant.id)
  assert.is(Number(one.created) + Number(other.created), 1)
  assert.is(await refusal(broker.mount('acme', asks('a'), { ...by, key: 'other' })), 'at-taken')
})

test('what fails leaves nothing', async ({ world }) => {
  const { broker, acme, by } = world
  for (const [errno, code] of [
    ['ENOTEMPTY', 'not-empty'],
    ['ELOOP', 'not-a-directory'],
    ['EINVAL', 'overlap'],
    ['ENOENT', 'no-such-subpath'],
    ['EIO', 'backing-unavailable'],
    ['ENOTCONN', 'not-ready'],
  ] as const) {
    acme.fail(errno)
    assert.is(await refusal(broker.mount('acme', asks('a'), by)), code)
    assert.equal(broker.grants(), [])
  }
  await broker.mount('acme', asks('a'), by)
})

test('the state cannot be written: nothing is given, what is there stays', async ({ world }) => {
  const { broker, acme, by } = world
  const { grant } = await broker.mount('acme', asks('a'), by)
  const other = new DatabaseSync(world.file)
  other.exec('BEGIN IMMEDIATE')
  const attempt = await broker.mount('acme', asks('b'), by).then(
    () => 'given',
    (error: Error) => error.name,
  )
  assert.is(attempt, 'StoreError')
  assert.equal(acme.paths, ['a'])
  // A revocation is done all the same, and written when that is possible.
  await broker.revoke(grant.id, nobody, undefined).catch(() => undefined)
  assert.equal(acme.paths, [])
  other.exec('ROLLBACK')
  other.close()
  await broker.tidy()
  assert.equal(broker.grants(), [])
})

test('is written down once it stands, and answered once it is shown', async ({ world }) => {
  const { broker, acme, by } = world
  const [grafting, showing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  acme.hold = grafting.promise
  acme.showing = showing.promise
  let answered = false
  const mounting = broker.mount('acme', asks('a'), by).then(() => (answered = true))
  await sleep(5)
  assert.equal(world.written(), [])
  grafting.resolve()
  while (world.written().length === 0) await sleep(1)
  assert.equal(world.written(), [['a', 'active']])
  await sleep(5)
  assert.not.ok(answered)
  showing.resolve()
  await mounting
})

test('a revocation is written down while it is carried out', async ({ world }) => {
  const { broker, acme, by } = world
  const { grant } = await broker.mount('acme', asks('a'), by)
  const revoking = Promise.withResolvers<void>()
  acme.hold = revoking.promise
  const going = broker.revoke(grant.id, nobody, undefined)
  await sleep(5)
  assert.equal(world.written(), [['a', 'revoking']])
  revoking.resolve()
  await going
  assert.equal(world.written(), [])
})

test('in use: says so, waits, and goes once it is closed', async ({ world }) => {
  const { broker, acme, by } = world
  await broker.mount('acme', asks('a'), by)
  const graft = acme.at('a')
  if (graft === undefined) throw new Error('not there')
  graft.openHandles = 1
  assert.is(await refusal(broker.unmount('acme', { at: 'a' }, now, nobody)), 'busy')
  const events: GrantEvent[] = []
  broker.events.subscribe('acme', (event) => events.push(event))
  const waiting = broker.unmount('acme', { at: 'a' }, { ...now, waitMs: 60_000 }, nobody)
  while (events.length === 0) await sleep(5)
  assert.equal(acme.paths, ['a'])
  graft.openHandles = 0
  assert.is((await waiting)?.at, 'a')
  assert.equal(
    events.map(({ type }) => type),
    ['busy', 'unmounted'],
  )
})

test('force takes away what is in use, unless it is not revocable', async ({ world }) => {
  const { broker, acme, by } = world
  await broker.mount('acme', asks('a'), by)
  for (const each of acme.standing.values()) each.openHandles = 3
  await broker.unmount('acme', { at: 'a' }, force, nobody)
  assert.equal(acme.paths, [])
  await world.configure([policyNamed('all', { revocable: false })])
  await broker.mount('acme', asks('a'), by)
  for (const each of acme.standing.values()) each.openHandles = 3
  assert.is(await refusal(broker.unmount('acme', { at: 'a' }, force, nobody)), 'busy')
  assert.equal(
    broker.grants().map(({ state }) => state),
    ['active'],
  )
})

test('nested grants go with what they stand in, and none begins there meanwhile', async ({
  world,
}) => {
  const { broker, acme, by } = world
  await broker.mount('acme', asks('a', { mode: 'rw' }), by)
  await broker.mount('acme', asks('a/b/c', { volume: 'logs' }), by)
  assert.equal(acme.paths, ['a', 'a/b/c'])
  const hold = Promise.withResolvers<void>()
  acme.hold = hold.promise
  const going = broker.unmount('acme', { at: 'a' }, force, nobody)
  const coming = broker.mount('acme', asks('a/d', { volume: 'logs' }), by)
  await sleep(5)
  acme.hold = undefined
  hold.resolve()
  await Promise.all([going, coming])
  assert.equal(acme.paths, ['a/d'])
  assert.equal(
    broker.grants().map(({ at }) => at),
    ['a/d'],
  )
})

test('ends at its time', async ({ world }) => {
  const { broker, acme, by } = world
  const events: GrantEvent[] = []
  broker.events.subscribe('acme', (event) => events.push(event))
  const ends = Array.from({ length: 20 }, (_, i) =>
    broker.mount('acme', asks(`t${i}`, { ttlMs: 20 + ((i * 7) % 20) }), by),
  )
  await broker.mount('acme', asks('stays'), by)
  await Promise.all(ends)
  while (acme.paths.length > 1) await sleep(5)
  assert.equal(acme.paths, ['stays'])
  assert.is(events.filter(({ type }) => type === 'expired').length, 20)
})

test('a policy that is taken back takes its grants along', async ({ world }) => {
  const { broker, acme, by } = world
  await world.configure([
    policyNamed('narrow', { modes: ['ro'], maxTtlMs: 60_000 }),
    policyNamed('wide', { volumes: { names: ['data'], labels: {} } }),
  ])
  await broker.mount('acme', asks('keeps'), by)
  await broker.mount('acme', asks('loses', { mode: 'rw' }), by)
  const report = await world.configure([policyNamed('narrow', { modes: ['ro'], maxTtlMs: 60_000 })])
  assert.is(report.revoked, 1)
  assert.match(report.actions[0] ?? '', /"loses".*mode-not-allowed/)
  assert.equal(acme.paths, ['keeps'])
  const [kept] = broker.grants()
  assert.is(kept?.policy, 'narrow')
  assert.is(kept?.expiresAtMs, (kept?.createdAtMs ?? 0) + 60_000)
})

test('a volume that went or moved takes its grants along', async ({ world }) => {
  const { broker, acme, by } = world
  await broker.mount('acme', asks('a'), by)
  await broker.mount('acme', asks('b', { volume: 'logs' }), by)
  await broker.configure({
    volumes: [{ ...world.volume('data'), backing: world.scratch }],
    policies: [policyNamed('all')],
  })
  assert.equal(acme.paths, [])
})

test('a drained volume gives nothing more; what is not in use goes', async ({ world }) => {
  const { broker, acme, by } = world
  await broker.mount('acme', asks('used'), by)
  await broker.mount('acme', asks('unused'), by)
  for (const each of acme.standing.values()) if (each.at === 'used') each.openHandles = 1
  const left = await broker.catalog.drain('data', false, nobody)
  assert.equal(
    left.map(({ at }) => at),
    ['used'],
  )
  assert.is(await refusal(broker.mount('acme', asks('more'), by)), 'draining')
  assert.equal(await broker.catalog.drain('data', true, nobody), [])
  await world.restart()
  assert.is(await refusal(world.broker.mount('acme', asks('more'), by)), 'draining')
  world.broker.catalog.undrain('data', nobody)
  await world.broker.mount('acme', asks('more'), by)
})

test('after a restart what was promised is there, and only that', async ({ world }) => {
  const { broker, by } = world
  await broker.mount('acme', asks('a', { mode: 'rw' }), by)
  await broker.mount('acme', asks('a/b', { volume: 'logs' }), by)
  const intended = await broker.mount('acme', asks('half', { volume: 'logs' }), by)
  const going = await broker.mount('acme', asks('going', { volume: 'logs' }), by)
  broker.store.grants.setState(intended.grant.id, 'preparing')
  broker.store.grants.setState(going.grant.id, 'revoking')
  const report = await world.restart()
  assert.equal(world.acme.paths, ['a', 'a/b'])
  assert.equal([report.restored, report.revoked, report.failed], [2, 2, 0])
  assert.is(report.actions.length, 2)
  assert.equal(
    world.broker
      .grants()
      .map(({ at }) => at)
      .toSorted(),
    ['a', 'a/b'],
  )
})

test('a backing that is away keeps its grant, which comes back with it', async ({ world }) => {
  await world.broker.mount('acme', asks('a', { mode: 'rw' }), world.by)
  await world.broker.mount('acme', asks('a/b', { volume: 'logs' }), world.by)
  await world.restart()
  const { broker } = world
  await broker.removeTenant('acme', { forget: false })
  world.acme.standing.clear()
  world.acme.fail('EIO', 'EIO')
  const report = await broker.addTenant(acmeTenant, world.acme)
  assert.is(report.failed, 2)
  assert.is(broker.grants()[0]?.state, 'unavailable')
  await broker.tidy()
  assert.equal(world.acme.paths, ['a', 'a/b'])
  assert.is(broker.grants()[0]?.state, 'active')
})

test('what stands in the mount and was granted to nobody goes', async ({ world }) => {
  const { broker, acme } = world
  await broker.removeTenant('acme', { forget: false })
  const options = { readOnly: true, revocable: true, quotaBytes: undefined, compute: false }
  await acme.graft('stray', { backing: '/', subpath: '' }, options)
  const report = await broker.addTenant(acmeTenant, acme)
  assert.equal(acme.paths, [])
  assert.match(report.actions.join(), /"stray"/)
})

test('a removed tenant leaves nothing', async ({ world }) => {
  const { broker, acme, by } = world
  await broker.mount('acme', asks('a', { mode: 'rw' }), by)
  await broker.mount('acme', asks('a/b', { volume: 'logs' }), by)
  await broker.removeTenant('acme', { forget: true })
  assert.equal(acme.paths, [])
  assert.equal(broker.grants(), [])
  assert.is(await refusal(broker.mount('acme', asks('a'), by)), 'not-ready')
})

test("another tenant's grant is none", async ({ world }) => {
  const { broker, acme, by } = world
  await world.tenant('bolt', 200_000)
  const { grant } = await broker.mount('acme', asks('a'), by)
  assert.is(await broker.unmount('bolt', { grant: grant.id }, force, nobody), undefined)
  assert.is(await broker.unmount('bolt', { at: 'a' }, force, nobody), undefined)
  assert.equal(acme.paths, ['a'])
  assert.equal(broker.grants('bolt'), [])
})

test('a tenant whose revocations hang delays those of nobody else', async ({ world }) => {
  const { broker, acme, by } = world
  const bolt = await world.tenant('bolt', 200_000)
  const takeAway = [
    () => world.configure([]),
    () => broker.catalog.drain('data', true, nobody),
    () => broker.tidy(),
  ]
  for (const [n, take] of takeAway.entries()) {
    await world.configure()
    broker.catalog.undrain('data', nobody)
    for (const at of Array.from({ length: 10 }, (_, i) => `${n}-${i}`))
      await broker.mount('acme', asks(at), by)
    await broker.mount('bolt', asks('b'), by)
    if (n === 2) {
      // What could not be revoked before is left to the next round.
      acme.fail(...Array(10).fill('EIO' as const))
      bolt.fail('EIO')
      await world.configure([])
    }
    const held = Promise.withResolvers<void>()
    acme.hold = held.promise
    const done = take()
    for (let tries = 0; tries < 100 && bolt.paths.length > 0; tries += 1) await sleep(10)
    assert.equal(bolt.paths, [], `way ${n}`)
    acme.hold = undefined
    held.resolve()
    await done
    assert.equal(acme.paths, [], `way ${n}`)
  }
})

test('choices reserve what they promise', async ({ world }) => {
  const { broker, by } = world
  const [volume] = broker.volumes()
  const free = volume?.state.freeBytes ?? 0
  assert.ok(free > 0)
  const most = Math.floor(free * 0.9)
  const wants = { mode: 'rw' as const, volume: 'data', quotaBytes: Math.floor(most / 2) }
  const codes = await Promise.all(
    Array.from({ length: 5 }, (_, i) => refusal(broker.mount('acme', asks(`q${i}`, wants), by))),
  )
  assert.equal(codes.toSorted(), ['none', 'none', ...Array(3).fill('not-enough-space')])
})

const acmeTenant = {
  name: 'acme',
  ids: { first: 100_000, count: 1_000 },
  labels: {},
  locality: undefined,
}

test.run()
