/** Programs in very many directories, each with the longest of sources and logs, fill no disk. */
import { statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_COMPUTE_LIMITS } from '../../src/config/limits.ts'
import { text } from '../support/fake-sandbox.ts'
import { Bench, ROOT, until } from './bench.ts'

const test = suite('compute: what is kept of programs')

async function directories(bench: Bench, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, n) => `d/${n}`)
  for (const name of names) await mkdir(path.join(bench.root, 'backing', name))
  return await Promise.all(names.map((name) => bench.volume.keyOf(name)))
}

/** The errno and the message with which staging is refused. */
async function refusalOf(staging: Promise<unknown>): Promise<string> {
  return await staging.then(
    () => 'none',
    ({ code, message }: NodeJS.ErrnoException) => `${code}: ${message}`,
  )
}

test('the sources of all programs together have a bound', async () => {
  const bounds = { ...DEFAULT_COMPUTE_LIMITS, sourcesBytes: 1_000 }
  const bench = await Bench.make({ ok: async () => [text('result', 'ok')] }, { bounds })
  const stage = (key: string, sizeBytes: number) =>
    bench.compute.stage(key, Buffer.from('ok'.padEnd(sizeBytes)), ROOT)
  const [one = '', two = '', three = ''] = await directories(bench, 3)
  await stage(one, 400)
  await stage(two, 400)
  const refused = await refusalOf(stage(three, 400))
  assert.match(refused, /^EDQUOT: .*programs .* may take 1000/)
  assert.is(bench.compute.entry(three), undefined)
  assert.is(bench.sandbox.runs, 2, 'what is refused does not run')
  // One that is replaced makes room for what comes instead.
  await stage(two, 500)
  assert.match(await refusalOf(stage(two, 700)), /^EDQUOT/)
  assert.is(bench.compute.entry(two)?.sizeBytes, 500)
  await bench.restart()
  assert.match(await refusalOf(stage(three, 400)), /^EDQUOT/)
  await bench.compute.detach(one, ROOT)
  await stage(three, 400)
  assert.match(await refusalOf(stage(one, 400)), /^EDQUOT/)
  await bench.end()
})

test('many at a time do not slip through together', async () => {
  const bounds = { ...DEFAULT_COMPUTE_LIMITS, sourcesBytes: 1_000 }
  const bench = await Bench.make({ ok: async () => [text('result', 'ok')] }, { bounds })
  const keys = await directories(bench, 20)
  const outcomes = await Promise.all(
    keys.map((key) => refusalOf(bench.compute.stage(key, Buffer.from('ok'.padEnd(300)), ROOT))),
  )
  assert.is(outcomes.filter((outcome) => outcome === 'none').length, 3)
  await bench.end()
})

test('the logs of all programs together have a bound: the oldest are left out', async () => {
  const LOG_BYTES = 100_000
  const bounds = { ...DEFAULT_COMPUTE_LIMITS, logsBytes: 3 * LOG_BYTES }
  const bench = await Bench.make(
    {
      says: async ({ onLog }) => {
        onLog('x'.repeat(LOG_BYTES))
        return [text('result', 'ok')]
      },
    },
    { bounds },
  )
  const keys = await directories(bench, 20)
  const run = async (key: string): Promise<void> => {
    await bench.compute.resolve(key, new AbortController().signal)
    await until(() => bench.compute.status(key)?.state === 'ok')
  }
  for (const key of keys) {
    await bench.compute.stage(key, Buffer.from('says'), ROOT)
    await run(key)
  }
  const whole = (): number[] =>
    keys.flatMap((key, n) => (bench.compute.log(key).length === LOG_BYTES ? [n] : []))
  await bench.restart()
  assert.equal(whole(), [18, 19])
  const [first = ''] = keys
  assert.match(Buffer.from(bench.compute.log(first)).toString(), /made room/)
  assert.is(bench.compute.status(first)?.state, 'ok')
  // Still so after a restart, which counts what it finds.
  await bench.compute.control(first, 'rerun', ROOT)
  await run(first)
  await bench.restart()
  assert.equal(whole(), [0, 19])
  await bench.compute.close()
  const stored = statSync(path.join(bench.state, 'programs.db')).size
  assert.ok(stored < 10 * LOG_BYTES, `${stored} bytes`)
  await bench.end()
})

test.run()
