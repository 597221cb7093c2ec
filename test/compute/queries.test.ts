/** Programs that are attached nowhere. */
import * as fs from 'node:fs/promises'
import { openSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { RunError } from '../../src/compute/index.ts'
import { guestError, overLimit, text, type Guest } from '../support/fake-sandbox.ts'
import { Bench, errnoOf, ROOT } from './bench.ts'

const test = suite('compute: queries')

const USAGE = { wallMs: 1, cpuMs: 1, peakMemoryBytes: 1 }

const guests: Record<string, Guest> = {
  value: async () => [text('a', '1'), text('result', 'the value')],
  one: async () => [text('only', 'one')],
  none: async () => [],
  many: async () => [text('a', '1'), text('b', '2')],
  library: async (run) => [text('result', Buffer.from(run.library ?? []).toString())],
  throws: async () => {
    throw new RangeError('out of range')
  },
  compile: async () => ({
    status: 'failed',
    phase: 'compile',
    error: guestError('SyntaxError', 'no'),
    usage: USAGE,
  }),
  limit: async () => overLimit('memory', 'too much'),
  endless: (run) =>
    new Promise((resolve) => run.signal.addEventListener('abort', () => resolve([]))),
}

const ask = (bench: Bench, source: string, signal = new AbortController().signal) =>
  bench.compute
    .query(bench.key, Buffer.from(source), ROOT, signal)
    .then(({ bytes }) => Buffer.from(bytes).toString())

test('the answer is the return value, else the only result', async () => {
  const bench = await Bench.make(guests)
  assert.is(await ask(bench, 'value'), 'the value')
  assert.is(await ask(bench, 'one'), 'one')
  assert.is(await ask(bench, 'none'), '')
  const refused = await ask(bench, 'many').catch((error: unknown) => error)
  assert.instance(refused, RunError)
  assert.match((refused as RunError).message, /emitted 2 results \(a, b\); return the answer/)
  assert.is((refused as RunError).code, 'EIO')
  assert.is(bench.compute.entry(bench.key), undefined, 'nothing is attached')
  await bench.end()
})

test('it may use the program of its directory', async () => {
  const bench = await Bench.make(guests)
  assert.is(await ask(bench, 'library'), '')
  await bench.stage('one as a library')
  assert.is(await ask(bench, 'library'), 'one as a library')
  await bench.end()
})

test('every failure has its errno and its reason', async () => {
  const bench = await Bench.make(guests)
  assert.is(await errnoOf(ask(bench, 'throws')), 'EIO')
  assert.is(await errnoOf(ask(bench, 'compile')), 'ENOEXEC')
  assert.is(await errnoOf(ask(bench, 'limit')), 'EIO')
  assert.is(await errnoOf(ask(bench, 'x'.repeat(2 ** 21))), 'EFBIG')
  const thrown = (await ask(bench, 'throws').catch((error: unknown) => error)) as RunError
  assert.is(thrown.message, 'RangeError: out of range')
  assert.is(thrown.failure.line, 3)
  assert.is(bench.openSessions, 0)
  await bench.end()
})

test('who leaves ends it', async () => {
  const bench = await Bench.make(guests)
  const abort = new AbortController()
  const asked = errnoOf(ask(bench, 'endless', abort.signal))
  while (bench.sandbox.runs === 0) await new Promise((resolve) => setImmediate(resolve))
  abort.abort()
  assert.is(await asked, 'EINTR')
  assert.is(bench.sandbox.statistics().runs, 0)
  assert.is(await errnoOf(ask(bench, 'one', AbortSignal.abort())), 'EINTR')
  await bench.end()
})

test('it is validated at its end, and tried three times', async () => {
  let n = 0
  const bench = await Bench.make({
    racing: async (run) => {
      await run.inputs.open('a')
      n += 1
      if (run.text === 'racing' || n < 3) {
        await bench.write('tmp', `${n}`)
        await fs.rename(bench.file('tmp'), bench.file('a'))
      }
      return [text('result', `${n}`)]
    },
  })
  await bench.write('a', '')
  assert.is(await ask(bench, 'racing'.replace('racing', 'racing twice')), '3')
  assert.is(await errnoOf(ask(bench, 'racing')), 'EAGAIN')
  assert.is(n, 6)
  await bench.end()
})

/** The number may belong to another file by now. */
function whatIs(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return 'closed'
  }
}

test('evaluate leaves results as files, and closes the spool', async () => {
  let spoolFd = -1
  const bench = await Bench.make({
    spool: async (run) => {
      run.onLog('hello')
      const file = path.join(bench.root, 'spool')
      await fs.writeFile(file, 'abcdef')
      spoolFd = openSync(file, 'r')
      return {
        status: 'ok',
        results: [text('a', '1'), { name: 'b', spool: { fd: spoolFd, offset: 1, sizeBytes: 3 } }],
        spoolFd,
        usage: USAGE,
      }
    },
  })
  const folder = path.join(bench.root, 'out')
  await fs.mkdir(folder)
  const log: string[] = []
  const { results, usage } = await bench.compute.evaluate(bench.key, Buffer.from('spool'), ROOT, {
    folder,
    signal: new AbortController().signal,
    onLog: (line) => log.push(line),
  })
  assert.equal(results, [
    { name: 'a', sizeBytes: 1 },
    { name: 'b', sizeBytes: 3 },
  ])
  assert.is(usage.wallMs, 1)
  assert.equal(log, ['hello'])
  assert.is(await fs.readFile(path.join(folder, 'b'), 'utf8'), 'bcd')
  assert.is.not(whatIs(spoolFd), path.join(bench.root, 'spool'))
  await bench.end()
})

test.run()
