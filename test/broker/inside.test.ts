/** The life of a grant inside a container, over a mount in memory: its end, its loss, its drift. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { atInside, faultOfTarget } from '../../src/broker/paths.ts'
import type { ContainerPlace } from '../../src/broker/types.ts'
import { asks, BrokerWorld } from '../support/broker-world.ts'
import { until } from '../support/serve-world.ts'

const test = suite('grants inside containers')

function place(target: string, pid = 4_242): ContainerPlace {
  const consumer = {
    pid,
    startTicks: 7,
    bootId: 'boot',
    mountNamespace: String(pid),
    container: undefined,
  }
  return { consumer, target }
}

function asksInside(inside: ContainerPlace) {
  return asks(atInside(inside), { inside, mode: 'rw' })
}

function add(name: string, body: (world: BrokerWorld) => Promise<void>): void {
  test(name, async () => {
    const world = new BrokerWorld()
    try {
      await world.configure()
      await body(world)
    } finally {
      world.close()
    }
  })
}

add('is a grant as others: one at a place, revoked, audited', async (world) => {
  const mount = await world.tenant('acme')
  const inside = place('/srv/data')
  const { grant } = await world.broker.mount('acme', asksInside(inside), world.by)
  assert.equal(mount.paths, ['4242:/srv/data'])
  // By another name for the same container as well.
  const other = { ...inside, consumer: { ...inside.consumer, container: 'f'.repeat(64) } }
  await world.broker.mount('acme', asksInside(other), world.by).then(
    () => assert.unreachable(),
    (error: { code: string }) => assert.is(error.code, 'at-taken'),
  )
  await world.broker.revoke(grant.id, world.by.actor, undefined)
  assert.equal(mount.paths, [])
  assert.is(world.broker.grants().length, 0)
})

add('is written down before it is made, as it outlives the daemon', async (world) => {
  const mount = await world.tenant('acme')
  const injecting = Promise.withResolvers<void>()
  mount.hold = injecting.promise
  const inside = place('/srv/data')
  const mounting = world.broker.mount('acme', asksInside(inside), world.by)
  assert.equal(world.written(), [[atInside(inside), 'preparing']])
  injecting.resolve()
  await mounting
  assert.equal(world.written(), [[atInside(inside), 'active']])
})

add('goes with its container, and what stands in it too', async (world) => {
  const mount = await world.tenant('acme')
  await world.broker.mount('acme', asksInside(place('/srv')), world.by)
  await world.broker.mount('acme', asks('kept', { volume: 'logs' }), world.by)
  const inner = asks(atInside(place('/srv/in')), { inside: place('/srv/in'), volume: 'logs' })
  await world.broker.mount('acme', inner, world.by)
  mount.insides.get('4242:/srv')?.({ kind: 'ended', why: 'its container ended' })
  await until(() => mount.paths.length === 1)
  assert.equal(mount.paths, ['kept'])
  const [entry] = world.broker.store.audit.list({ action: 'revoke', limit: 1 })
  assert.is(entry?.reason, 'its container ended')
})

add('a lost one is put in again; one of a container that is gone is dropped', async (world) => {
  const mount = await world.tenant('acme')
  const lost = await world.broker.mount('acme', asksInside(place('/a')), world.by)
  await world.broker.mount('acme', asks('b', { inside: place('/b'), volume: 'logs' }), world.by)
  for (const [at, why] of [
    ['4242:/a', 'aborted'],
    ['4242:/b', 'aborted'],
  ] as const) {
    const standing = mount.at(at)
    mount.standing.delete(standing?.graft ?? 0)
    mount.insides.get(at)?.({ kind: 'lost', why })
  }
  assert.is(world.broker.grant(lost.grant.id)?.state, 'unavailable')
  mount.fail('ESRCH')
  const report = await world.broker.tidy()
  assert.is(report.restored + report.revoked, 2)
  assert.is(world.broker.grants().length, 1)
})

add('after a restart it comes back; an intent is cleared away', async (world) => {
  const first = await world.tenant('acme')
  await world.broker.mount('acme', asksInside(place('/a')), world.by)
  first.hold = new Promise(() => undefined) // the daemon dies in the middle
  void world.broker
    .mount('acme', { ...asksInside(place('/b')), volume: 'logs' }, world.by)
    .catch(() => undefined)
  await world.restart()
  const again = world.acme
  assert.equal(again.paths, ['4242:/a'])
  assert.ok(again.calls.includes('clear 4242:/b'))
  assert.is(world.broker.grants()[0]?.inside?.consumer.pid, 4_242)
})

add('drift is told once each way', async (world) => {
  const mount = await world.tenant('acme')
  const { grant } = await world.broker.mount('acme', asksInside(place('/a')), world.by)
  const told: string[] = []
  world.broker.events.subscribe('acme', ({ type }) => told.push(type))
  mount.drift.set(mount.at('4242:/a')?.graft ?? 0, 'it was unmounted in there')
  await world.broker.tidy()
  await world.broker.tidy()
  const drifted = world.broker.grant(grant.id)
  assert.equal([drifted?.state, drifted?.reason], ['drifted', 'it was unmounted in there'])
  mount.drift.clear()
  await world.broker.tidy()
  assert.is(world.broker.grant(grant.id)?.state, 'active')
  assert.equal(told, ['drifted', 'restored'])
  assert.is(world.broker.store.audit.list({ action: 'drift', limit: 9 }).length, 2)
})

test('targets', () => {
  for (const good of ['/a', '/srv/data', `/${'x'.repeat(255)}`])
    assert.is(faultOfTarget(good), undefined, good)
  for (const bad of [
    '',
    '/',
    'a',
    '//a',
    '/a/',
    '/a//b',
    '/a/../b',
    '/./a',
    '/a\nb',
    '/a\u0000b',
    `/${'x'.repeat(256)}`,
    `/${'\u00e9'.repeat(128)}`,
    '/\ud800',
    '/x'.repeat(70),
  ])
    assert.ok(faultOfTarget(bad) !== undefined, JSON.stringify(bad))
})

test.run()
