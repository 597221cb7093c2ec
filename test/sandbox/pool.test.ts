/** Who gets which worker, and that a run may end at any moment. With fake workers where only the
 * order of things matters, with real ones where their death does. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FairQueue } from '../../src/sandbox/fair-queue.ts'
import type { RunOutcome, Sandbox } from '../../src/sandbox/types.ts'
import { fake, type Peer } from './fake-worker.ts'
import {
  descendants,
  type Launch,
  LIMITS,
  request,
  resultsOf,
  tableInputs,
  until,
  withSandbox,
} from './sandbox-kit.ts'

const test = suite('sandbox: pool')

/** A worker that does as it is told until it ends, and says which of them it is. */
async function obedient(peer: Peer, number: number): Promise<void> {
  for (;;) {
    await peer.startRun()
    peer.say({ type: 'results', results: [[String(number), 0]] })
    peer.done()
    await peer.hear('renew')
  }
}

/** Workers that are numbered in the order of their start. */
function numbered(play: (peer: Peer, number: number) => Promise<void> = obedient): {
  launch: Launch
  started: () => number
} {
  let count = 0
  return { launch: fake((peer) => play(peer, (count += 1))), started: () => count }
}

async function servedBy(sandbox: Sandbox, tenant: string, uid = 1): Promise<string> {
  const principal = { uid, gid: 1, groups: [] }
  const outcome = await sandbox.run(request('1', { tenant, principal })).outcome
  return Object.keys(resultsOf(outcome)).join()
}

test('tenants take turns, so do their principals, and only the one that floods is refused', () => {
  const queue = new FairQueue<string>(3)
  for (const item of ['a1', 'a2', 'a3']) assert.ok(queue.push('a', 'u', item))
  assert.not(queue.push('a', 'u', 'a4'))
  assert.ok(queue.push('a', 'v', 'av'))
  assert.ok(queue.push('b', 'w', 'b1'))
  const order: string[] = []
  for (let [head] = queue.heads(); head !== undefined; [head] = queue.heads())
    order.push(queue.shift(head.tenant, head.principal) ?? '')
  assert.equal(order, ['a1', 'b1', 'av', 'a2', 'a3'])
  assert.not(queue.remove('a', 'u', 'a1'))
  assert.is(queue.size, 0)
  // However many principals it has.
  for (let n = 0; n < 30; n += 1) assert.ok(queue.push('a', String(n), ''))
  assert.not(queue.push('a', 'another', ''))
  assert.ok(queue.push('b', 'another', ''))
})

/** Workers that hold on to their programs; how many of each tenant run. */
async function sharedOut(shareOf: (tenant: string) => number): Promise<Record<string, number>> {
  const running: Record<string, number> = {}
  const { launch } = numbered((peer) => peer.startRun())
  await withSandbox(
    { maxWorkers: 4, idleWorkers: 0, shareOf },
    async (sandbox) => {
      const runs = []
      // One of them has many users, who were all there first.
      for (const [tenant, users] of [['many', 20] as const, ['one', 1] as const])
        for (let n = 0; n < 20; n += 1) {
          const principal = { uid: n % users, gid: 1, groups: [] }
          const run = sandbox.run(request('1', { tenant, principal }))
          void run.compiled.then(({ status }) => {
            if (status === 'ok') running[tenant] = (running[tenant] ?? 0) + 1
          })
          runs.push(run)
        }
      await until('all run that can', () => (running['many'] ?? 0) + (running['one'] ?? 0) === 4)
      for (const run of runs) run.cancel()
    },
    launch,
  )
  return running
}

test('tenants have their shares of the workers, however many users they have', async () => {
  assert.equal(await sharedOut(() => 1), { many: 2, one: 2 })
  assert.equal(await sharedOut((tenant) => (tenant === 'one' ? 3 : 1)), { many: 1, one: 3 })
})

test('who has all workers and goes on asking gives one up to who waits', async () => {
  const { launch } = numbered()
  await withSandbox(
    { maxWorkers: 2, idleWorkers: 0 },
    async (sandbox) => {
      let served = 0
      const end = new AbortController()
      const goesOn = async (uid: number): Promise<void> => {
        for (; !end.signal.aborted; served += 1) await servedBy(sandbox, 'a', uid)
      }
      const asked = Array.from({ length: 8 }, (_, n) => goesOn(n % 2))
      await until('it has them all', () => served > 10)
      await servedBy(sandbox, 'b')
      end.abort()
      await Promise.all(asked)
    },
    launch,
  )
})

test('a worker serves one principal of one tenant', async () => {
  const { launch } = numbered()
  await withSandbox(
    { maxWorkers: 4, idleWorkers: 0 },
    async (sandbox) => {
      const first = await servedBy(sandbox, 'a')
      assert.is(await servedBy(sandbox, 'a'), first)
      const others = [await servedBy(sandbox, 'b'), await servedBy(sandbox, 'a', 2)]
      assert.is(new Set([first, ...others]).size, 3)
      assert.is(await servedBy(sandbox, 'a'), first)
    },
    launch,
  )
})

test('a worker that does not come to life is tried a second time while somebody waits', async () => {
  let started = 0
  const { launch } = numbered()
  const failing: Launch = (...options) => {
    started += 1
    if (started === 1) throw new Error('an accident')
    return launch(...options)
  }
  await withSandbox(
    { maxWorkers: 1, idleWorkers: 0 },
    async (sandbox) => assert.is(await servedBy(sandbox, 'a'), '1'),
    failing,
  )
  assert.is(started, 2)
})

test('where there is no room, an idle worker of another principal goes', async () => {
  const { launch, started } = numbered()
  await withSandbox(
    { maxWorkers: 1, idleWorkers: 0 },
    async (sandbox) => {
      for (const tenant of ['a', 'b', 'a', 'c']) await servedBy(sandbox, tenant)
      assert.is(started(), 4)
      assert.is(sandbox.statistics().workers, 1)
    },
    launch,
  )
})

test('blank workers wait, as many as they should; others die when idle', async () => {
  const { launch } = numbered()
  await withSandbox(
    { maxWorkers: 4, idleWorkers: 2, idleMs: 100 },
    async (sandbox) => {
      await until('two wait', () => sandbox.statistics().idle === 2)
      await servedBy(sandbox, 'a')
      await until('three there', () => sandbox.statistics().workers === 3)
      await until('the used one gone', () => sandbox.statistics().workers === 2)
      assert.is(sandbox.statistics().idle, 2)
      assert.is(sandbox.statistics().kills, 0)
    },
    launch,
  )
})

test('over the bound on what waits', async () => {
  const { launch } = numbered((peer) => peer.startRun())
  await withSandbox(
    { maxWorkers: 1, idleWorkers: 0, queuedRuns: 2 },
    async (sandbox) => {
      const runs = [sandbox.run(request('1'))]
      await until('one runs', () => sandbox.statistics().runs === 1)
      for (let i = 0; i < 3; i += 1) runs.push(sandbox.run(request('1')))
      const refused = await runs[3]?.outcome
      assert.is(refused?.status === 'over-limit' && refused.limit, 'queue')
      const other = sandbox.run(request('1', { tenant: 'other' }))
      assert.is(sandbox.statistics().queued, 3)
      for (const run of [...runs, other]) run.cancel()
      const outcomes = await Promise.all([...runs.slice(0, 3), other].map((run) => run.outcome))
      assert.equal(
        outcomes.map(({ status }) => status),
        ['cancelled', 'cancelled', 'cancelled', 'cancelled'],
      )
    },
    launch,
  )
})

test('the sandbox closes while programs run, wait and start', async () => {
  const { launch } = numbered((peer) => peer.startRun())
  const outcomes: Promise<RunOutcome>[] = []
  await withSandbox(
    { maxWorkers: 2, idleWorkers: 2 },
    async (sandbox) => {
      for (let i = 0; i < 5; i += 1) outcomes.push(sandbox.run(request('1')).outcome)
      await until('one runs', () => sandbox.statistics().runs >= 1)
    },
    launch,
  )
  for (const { status } of await Promise.all(outcomes)) assert.is(status, 'cancelled')
})

test('an input that comes after the run was cancelled is closed', async () => {
  await withSandbox({ idleWorkers: 0 }, async (sandbox) => {
    const inputs = tableInputs({ 'a.txt': 'x' })
    const asked = Promise.withResolvers<void>()
    const late = Promise.withResolvers<void>()
    const open = async (name: string): ReturnType<typeof inputs.open> => {
      asked.resolve()
      await late.promise
      return inputs.open(name)
    }
    const run = sandbox.run(request('dir.file("a.txt").text()', { inputs: { ...inputs, open } }))
    await asked.promise
    run.cancel()
    run.cancel()
    assert.is((await run.outcome).status, 'cancelled')
    late.resolve()
  })
})

const STAGES = 12
test('a run is cancelled at any stage, and the next one is right', async () => {
  await withSandbox({}, async (sandbox) => {
    const inputs = tableInputs({ 'a.txt': 'x'.repeat(1_000) })
    const source = `for (let i = 0; i < 50; i++) { console.log(i); dir.file('a.txt').text() }; emit('big', 'y'.repeat(400_000))`
    for (let stage = 0; stage < STAGES; stage += 1) {
      const run = sandbox.run(request(source, { inputs }))
      await new Promise((resolve) => setTimeout(resolve, stage * 2))
      run.cancel()
      const outcome = await run.outcome
      assert.ok(['cancelled', 'ok'].includes(outcome.status), JSON.stringify(outcome).slice(0, 200))
      if (outcome.status === 'ok') resultsOf(outcome)
    }
    assert.is(resultsOf(await sandbox.run(request('"next"')).outcome)['result'], 'next')
  })
})

test('a worker is killed at any stage, and the next run is right', async () => {
  await withSandbox({}, async (sandbox) => {
    const inputs = tableInputs({ 'a.txt': 'x' })
    const source = `for (let i = 0; i < 2_000; i++) { try { dir.file('a.txt').text() } catch {} }`
    for (let stage = 0; stage < 6; stage += 1) {
      const run = sandbox.run(request(source, { inputs, limits: { ...LIMITS, inputs: 10_000 } }))
      await new Promise((resolve) => setTimeout(resolve, stage * 5))
      for (const pid of descendants(process.pid)) killQuietly(pid)
      const { status } = await run.outcome
      assert.ok(['over-limit', 'crashed', 'unavailable', 'ok'].includes(status), status)
    }
    assert.is(resultsOf(await sandbox.run(request('"next"')).outcome)['result'], 'next')
  })
})

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

test.run()
