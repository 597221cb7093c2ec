/** What inputs take in memory is bounded: what was used longest ago is put away, and comes back. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_COMPUTE_LIMITS } from '../../src/config/limits.ts'
import { type Guest, text } from '../support/fake-sandbox.ts'
import { Bench, errnoOf } from './bench.ts'

const test = suite('held inputs')

const NAMES = 10
/** For one program's inputs and not for those of two. */
const bounds = { ...DEFAULT_COMPUTE_LIMITS, heldInputBytes: NAMES * 700 }

test('the results of what was put away are there without a run', async () => {
  const runs: string[] = []
  const looking =
    (name: string): Guest =>
    async ({ inputs }) => {
      runs.push(name)
      for (let n = 0; n < NAMES; n += 1) await inputs.stat(`absent${n}`).catch(() => undefined)
      return [text('result', name)]
    }
  const bench = await Bench.make({ a: looking('a'), b: looking('b') }, { bounds })
  const places = { a: bench.key, b: await bench.volume.keyOf('') } as const
  for (const name of ['a', 'b'] as const) {
    bench.key = places[name]
    await bench.stage(name)
    assert.is(await bench.look(), name)
    assert.is(bench.openSessions, 1)
  }
  for (const name of ['a', 'b', 'a'] as const) {
    bench.key = places[name]
    assert.is(await bench.look(), name)
    assert.is(bench.openSessions, 1)
  }
  assert.equal(runs, ['a', 'b'])
  // As fresh as ever.
  await bench.write('absent3', '')
  bench.key = places.a
  assert.is(await bench.look(), 'a')
  assert.equal(runs, ['a', 'b', 'a'])
  await bench.end()
  assert.is(bench.openSessions, 0)
})

test('a program that looks at more than before takes more', async () => {
  let names = 1
  const looking: Guest = async ({ inputs }) => {
    for (let n = 0; n < names; n += 1) await inputs.stat(`absent${n}`).catch(() => undefined)
    return [text('result', String(names))]
  }
  const bench = await Bench.make({ a: looking, b: looking }, { bounds })
  const places = { a: bench.key, b: await bench.volume.keyOf('') } as const
  for (const name of ['a', 'b'] as const) {
    bench.key = places[name]
    await bench.stage(name)
    assert.is(await bench.look(), '1')
  }
  assert.is(bench.openSessions, 2)
  names = NAMES
  await bench.compute.control(bench.key, 'rerun', { uid: 0, gid: 0, groups: [] })
  assert.is(await bench.look(), String(NAMES))
  assert.is(bench.openSessions, 2, 'both have room')
  bench.key = places.a
  await bench.compute.control(bench.key, 'rerun', { uid: 0, gid: 0, groups: [] })
  assert.is(await bench.look(), String(NAMES))
  assert.is(bench.openSessions, 1)
  await bench.end()
})

test('what failed and was put away is tried again', async () => {
  let tries = 0
  const failing: Guest = async ({ inputs }) => {
    tries += 1
    for (let n = 0; n < NAMES; n += 1) await inputs.stat(`absent${n}`).catch(() => undefined)
    throw new Error('never')
  }
  const bench = await Bench.make({ a: failing, b: failing }, { bounds })
  const places = [bench.key, await bench.volume.keyOf('')]
  const looks = async (at: number): Promise<void> => {
    bench.key = places[at] ?? ''
    assert.is(await errnoOf(bench.look()), 'EIO')
    assert.is(bench.openSessions, 1)
  }
  await bench.stage('a')
  await looks(0)
  await looks(0)
  assert.is(tries, 1)
  bench.key = places[1] ?? ''
  await bench.stage('b')
  await looks(1)
  assert.is(tries, 2)
  await looks(0)
  assert.is(tries, 3)
  await bench.end()
})

test.run()
