import { mkdir } from 'node:fs/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_COMPUTE_LIMITS } from '../../src/config/limits.ts'
import { Scheduler } from '../../src/compute/scheduler.ts'
import { text } from '../support/fake-sandbox.ts'
import { Bench, door, errnoOf, until } from './bench.ts'

const test = suite('compute: scheduling')

/** Names of tickets in the order in which they enter. */
function watch(): { order: string[]; note: (name: string) => () => void } {
  const order: string[] = []
  return { order, note: (name) => () => void order.push(name) }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('so many at once, those with a reader first, else in order', async () => {
  const scheduler = new Scheduler({ concurrentRuns: 1, queuedRuns: 10 })
  const { order, note } = watch()
  const first = scheduler.enter(false, 1)
  const waiting = new Map(
    (['a', 'b', 'c'] as const).map((name) => [name, scheduler.enter(name === 'c', 1)]),
  )
  for (const [name, ticket] of waiting) void ticket.entered.then(note(name))
  waiting.get('b')?.promote()
  await settle()
  assert.equal(order, [])
  first.leave()
  first.leave()
  await settle()
  assert.equal(order, ['c'], 'a place is given back once')
  waiting.get('c')?.leave()
  await settle()
  waiting.get('b')?.leave()
  await settle()
  assert.equal(order, ['c', 'b', 'a'])
  waiting.get('a')?.leave()
  assert.is(scheduler.running, 0)
  assert.is(scheduler.queued, 0)
})

test('users take turns, and each has a line of his own', async () => {
  const scheduler = new Scheduler({ concurrentRuns: 2, queuedRuns: 3 })
  const { order, note } = watch()
  const running = [scheduler.enter(true, 1), scheduler.enter(true, 1)]
  const tickets = new Map<string, ReturnType<Scheduler['enter']>>()
  const ask = (name: string, uid: number): void => {
    const ticket = scheduler.enter(true, uid)
    tickets.set(name, ticket)
    void ticket.entered.then(note(name))
  }
  for (const name of ['a', 'b', 'c']) ask(name, 1)
  assert.throws(() => scheduler.enter(true, 1), /waiting already/)
  ask('x', 2)
  ask('y', 2)
  running[0]?.leave()
  await settle()
  assert.equal(order, ['x'], 'one of the user who has no run')
  running[1]?.leave()
  await settle()
  tickets.get('x')?.leave()
  await settle()
  assert.equal(order, ['x', 'a', 'y'])
  for (const name of ['a', 'y', 'b', 'c']) tickets.get(name)?.leave()
  assert.is(scheduler.running, 0)
  assert.is(scheduler.queued, 0)
})

test('one that leaves the line frees its place there, and no other', async () => {
  const scheduler = new Scheduler({ concurrentRuns: 1, queuedRuns: 1 })
  const first = scheduler.enter(true, 1)
  const second = scheduler.enter(true, 1)
  assert.throws(() => scheduler.enter(true, 1), /1 runs are waiting already/)
  second.leave()
  await second.entered
  const third = scheduler.enter(true, 1)
  assert.is(scheduler.running, 1)
  first.leave()
  await third.entered
  assert.is(scheduler.running, 1)
  third.leave()
  assert.is(scheduler.running, 0)
})

test('over the queue is EAGAIN with a status, and the next look may do', async () => {
  const release = door()
  const bench = await Bench.make(
    {
      slow: async () => {
        await release.opened
        return [text('result', 'ok')]
      },
    },
    { bounds: { ...DEFAULT_COMPUTE_LIMITS, concurrentRuns: 1, queuedRuns: 0 } },
  )
  await bench.stage('slow')
  const other = await bench.volume.keyOf('')
  const root = { uid: 0, gid: 0, groups: [] }
  await bench.compute.stage(other, Buffer.from('slow'), root)
  assert.is(bench.compute.status(other)?.error?.limit, 'queue')
  const look = (): Promise<void> => bench.compute.resolve(other, new AbortController().signal)
  assert.is(await errnoOf(look()), 'EAGAIN')
  const query = bench.compute.query(other, Buffer.from('slow'), root, AbortSignal.timeout(60_000))
  assert.is(await errnoOf(query), 'EAGAIN')
  release.open()
  await until(() => bench.status.state === 'ok')
  await look()
  assert.is(bench.compute.status(other)?.state, 'ok')
  await bench.end()
})

test('a look takes its queued run before those that nobody waits for', async () => {
  const release = door()
  const order: string[] = []
  const bench = await Bench.make(
    {
      slow: async (run) => {
        order.push(run.text)
        await release.opened
        return [text('result', '')]
      },
    },
    { bounds: { ...DEFAULT_COMPUTE_LIMITS, concurrentRuns: 1, queuedRuns: 10 } },
  )
  const root = { uid: 0, gid: 0, groups: [] }
  for (const name of ['1', '2', '3']) {
    await mkdir(bench.file(name))
    await bench.compute.stage(
      await bench.volume.keyOf(`d/${name}`),
      Buffer.from(`slow ${name}`),
      root,
    )
  }
  const third = await bench.volume.keyOf('d/3')
  assert.is(bench.compute.status(third)?.state, 'queued')
  const look = bench.compute.resolve(third, new AbortController().signal)
  await settle()
  release.open()
  await look
  assert.equal(order.slice(0, 2), ['slow 1', 'slow 3'])
  await bench.end()
})

test.run()
