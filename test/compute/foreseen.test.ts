/** A program that runs before it is attached: nothing of it shows until then, and it holds nothing up. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_COMPUTE_LIMITS } from '../../src/config/limits.ts'
import type { Foreseen } from '../../src/compute/types.ts'
import type { Principal } from '../../src/file-server/types.ts'
import { text } from '../support/fake-sandbox.ts'
import { Bench, ROOT, until } from './bench.ts'

const test = suite('compute: foreseen')
const ELSEWHO: Principal = { uid: 1, gid: 1, groups: [] }

function foresee(bench: Bench, source: string, principal = ROOT): Foreseen {
  const foreseen = bench.compute.foresee(bench.key, Buffer.from(source), principal)
  if (foreseen === undefined) throw new Error('it was not begun')
  return foreseen
}

function stage(bench: Bench, source: string, foreseen: Foreseen, principal = ROOT) {
  return bench.compute.stage(bench.key, Buffer.from(source), principal, { foreseen })
}

test('is the run of the program that is attached then', async () => {
  const bench = await Bench.make({ ok: async () => [text('result', 'answer')] })
  const foreseen = foresee(bench, 'ok')
  await until(() => bench.sandbox.runs === 1)
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.is(bench.published('current'), undefined)
  assert.is(bench.compute.entry(bench.key), undefined)
  assert.equal(await bench.compute.list(), [])
  assert.equal(await stage(bench, 'ok', foreseen), { status: 'attached' })
  assert.is(await bench.look(), 'answer')
  assert.is(bench.sandbox.runs, 1)
  await bench.end()
})

test('sees inputs as they are at the look, not as they were', async () => {
  let runs = 0
  const bench = await Bench.make({
    copy: async ({ inputs }) => {
      runs += 1
      await inputs.open('in')
      return [text('result', `run ${runs}`)]
    },
  })
  await bench.write('in', 'old')
  const foreseen = foresee(bench, 'copy')
  await until(() => runs === 1)
  await new Promise((resolve) => setTimeout(resolve, 20))
  await bench.write('in', 'and new')
  await stage(bench, 'copy', foreseen)
  assert.is(await bench.look(), 'run 2')
  await bench.end()
})

for (const [why, source, principal] of [
  ['other bytes', 'ok 2', ROOT],
  ['another principal', 'ok', ELSEWHO],
] as const)
  test(`is not taken for ${why}`, async () => {
    const bench = await Bench.make({ ok: async ({ text: all }) => [text('result', all)] })
    const foreseen = foresee(bench, 'ok')
    await bench.compute
      .stage(bench.key, Buffer.from(source), principal, { foreseen })
      .catch(() => undefined)
    if (principal === ROOT) assert.is(await bench.look(), 'ok 2')
    else assert.is(bench.compute.entry(bench.key), undefined)
    await bench.end()
  })

test('is not taken when another program came and went meanwhile', async () => {
  const bench = await Bench.make({ ok: async ({ text: all }) => [text('result', all)] })
  const foreseen = foresee(bench, 'ok')
  await bench.stage('ok between')
  await bench.look()
  await bench.compute.detach(bench.key, ROOT)
  await stage(bench, 'ok', foreseen)
  assert.is(await bench.look(), 'ok')
  assert.is(bench.published('current')?.version, 2)
  await bench.end()
})

test('one that is never attached gives its place back', async () => {
  const ended: AbortSignal[] = []
  const bench = await Bench.make(
    {
      endless: ({ signal }) => {
        ended.push(signal)
        return new Promise(() => {})
      },
      ok: async () => [text('result', 'ok')],
    },
    { bounds: { ...DEFAULT_COMPUTE_LIMITS, concurrentRuns: 1 } },
  )
  foresee(bench, 'endless')
  await until(() => ended.length === 1)
  assert.is(
    bench.compute.foresee(bench.key, Buffer.from('ok'), ROOT),
    undefined,
    'there is no room for another',
  )
  // Nobody drops it: time does.
  await bench.stage('ok')
  assert.is(await bench.look(), 'ok')
  assert.ok(ended[0]?.aborted)
  await bench.end()
})

test('dropped, it leaves nothing', async () => {
  const bench = await Bench.make({ ok: async () => [text('result', 'ok')] })
  const foreseen = foresee(bench, 'ok')
  foreseen.drop()
  foreseen.drop()
  await until(() => bench.openSessions === 0)
  assert.is(bench.compute.entry(bench.key), undefined)
  assert.equal(await stage(bench, 'ok', foreseen), { status: 'attached' })
  assert.is(await bench.look(), 'ok')
  await bench.end()
})

test.run()
