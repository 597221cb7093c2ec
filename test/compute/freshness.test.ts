/** Which looks a run serves, and when a program runs again. */
import { rename, rm } from 'node:fs/promises'
import * as fs from 'node:fs/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_RUN_LIMITS } from '../../src/config/limits.ts'
import { crashed, overLimit, text, type FakeRun, type Guest } from '../support/fake-sandbox.ts'
import { Bench, door, errnoOf, until } from './bench.ts'

const test = suite('compute: freshness')

/** Opens `a` through its inputs, and returns its bytes as they were then. */
async function readA(bench: () => Bench, run: FakeRun): Promise<string> {
  await run.inputs.open('a')
  return fs.readFile(bench().file('a'), 'utf8')
}

async function make(
  guests: (bench: () => Bench) => Record<string, Guest>,
  options: Parameters<typeof Bench.make>[1] = {},
): Promise<Bench> {
  const bench: Bench = await Bench.make(
    guests(() => bench),
    options,
  )
  return bench
}

const copyA = (bench: () => Bench): Record<string, Guest> => ({
  copy: async (run) => [text('result', await readA(bench, run))],
})

test('runs once while the inputs hold, again when one changed', async () => {
  const bench = await make(copyA)
  await bench.write('a', '1')
  assert.is((await bench.stage('copy')).status, 'attached')
  assert.is(await bench.look(), '1')
  assert.is(await bench.look(), '1')
  assert.is(bench.sandbox.runs, 1)
  await bench.write('a', '22')
  assert.is(await bench.look(), '22')
  assert.is(bench.sandbox.runs, 2)
  await bench.end()
})

test('a look that joined a run sees what was appended after the run had read', async () => {
  const read = door()
  const finish = door()
  const bench = await make((get) => ({
    slow: async (run) => {
      const bytes = await readA(get, run)
      read.open()
      await finish.opened
      return [text('result', bytes)]
    },
  }))
  await bench.write('a', 'one\n')
  await bench.stage('slow')
  await read.opened
  await bench.append('a', 'two\n')
  const look = bench.look()
  finish.open()
  assert.is(await look, 'one\ntwo\n')
  assert.is(bench.sandbox.runs, 2)
  await bench.end()
})

test('a log that grows during each run answers the looks from before the run', async () => {
  const bench = await make((get) => ({
    tail: async (run) => {
      const bytes = await readA(get, run)
      await get().append('a', 'x')
      return [text('result', bytes)]
    },
  }))
  await bench.write('a', '')
  await bench.stage('tail')
  await until(() => bench.status.state === 'ok')
  const runs = bench.sandbox.runs
  assert.is((await bench.look()).length, runs)
  assert.is(bench.sandbox.runs, runs + 1)
  await bench.end()
})

test('an input that changed during a run makes it run again', async () => {
  let left = 2
  const bench = await make((get) => ({
    racing: async (run) => {
      const bytes = await readA(get, run)
      if (left-- > 0) await rename(await fresh(get(), `b${left}`), get().file('a'))
      return [text('result', bytes)]
    },
  }))
  await bench.write('a', 'a')
  await bench.stage('racing')
  assert.is(await bench.look(), 'b0')
  assert.is(bench.sandbox.runs, 3)
  await bench.end()
})

test('three tries, then EAGAIN with the reason', async () => {
  const bench = await make((get) => ({
    never: async (run) => {
      const bytes = await readA(get, run)
      await rename(await fresh(get(), 'next'), get().file('a'))
      return [text('result', bytes)]
    },
  }))
  await bench.write('a', 'a')
  await bench.stage('never')
  await until(() => bench.status.state === 'failed')
  assert.is(bench.sandbox.runs, 3)
  assert.is(await errnoOf(bench.look()), 'EAGAIN')
  assert.is(bench.sandbox.runs, 6, 'the next look tries again')
  assert.match(bench.compute.error(bench.key), /inputs changed during each run \(a: changed\)/)
  assert.is(bench.published('current'), undefined)
  await bench.end()
})

test('a file that was looked for and not there counts', async () => {
  const bench = await make(() => ({
    missing: async (run) => [
      text(
        'result',
        await run.inputs.stat('later').then(
          () => 'there',
          () => 'none',
        ),
      ),
    ],
  }))
  await bench.stage('missing')
  assert.is(await bench.look(), 'none')
  await bench.write('later', '')
  assert.is(await bench.look(), 'there')
  await bench.end()
})

test('a failure is remembered with its inputs', async () => {
  const bench = await make((get) => ({
    strict: async (run) => {
      const bytes = await readA(get, run)
      if (bytes === 'bad') throw new TypeError('a is bad')
      return [text('result', bytes)]
    },
  }))
  await bench.write('a', 'good')
  await bench.stage('strict')
  assert.is(await bench.look(), 'good')
  await bench.write('a', 'bad')
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(bench.sandbox.runs, 2)
  assert.is(bench.published('current'), undefined)
  assert.is(await bench.read('last'), 'good')
  assert.is(bench.status.state, 'failed')
  assert.is(
    bench.compute.error(bench.key),
    'TypeError: a is bad (line 3, column 7)\n    at .compute:3:7\n',
  )
  await bench.write('a', 'good again')
  assert.is(await bench.look(), 'good again')
  assert.is(bench.compute.error(bench.key), '')
  await bench.end()
})

test('a failure that came of a half-written input is tried again', async () => {
  let torn = true
  const bench = await make((get) => ({
    parse: async (run) => {
      const bytes = await readA(get, run)
      if (!torn) return [text('result', bytes)]
      torn = false
      await rename(await fresh(get(), 'whole'), get().file('a'))
      throw new SyntaxError('half a file')
    },
  }))
  await bench.write('a', 'ha')
  await bench.stage('parse')
  assert.is(await bench.look(), 'whole')
  await bench.end()
})

test('limits are remembered, crashes and full queues are not', async () => {
  const outcomes = [overLimit('wall', 'ran 60 s'), crashed('killed'), overLimit('queue', 'full')]
  const bench = await make(() => ({ any: async () => outcomes[0] ?? [text('result', 'fine')] }))
  await bench.stage('any')
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(bench.sandbox.runs, 1)
  assert.equal(bench.status.error, {
    name: 'LimitError',
    message: 'ran 60 s',
    line: undefined,
    column: undefined,
    limit: 'wall',
  })
  outcomes.shift()
  await bench.compute.control(bench.key, 'rerun', { uid: 0, gid: 0, groups: [] })
  assert.is(await errnoOf(bench.look()), 'EIO')
  const runs = bench.sandbox.runs
  outcomes.shift()
  assert.is(await errnoOf(bench.look()), 'EAGAIN')
  assert.is(bench.sandbox.runs, runs + 1)
  outcomes.shift()
  assert.is(await bench.look(), 'fine')
  await bench.end()
})

test('many looks share one run', async () => {
  const finish = door()
  const bench = await make(() => ({
    slow: async () => {
      await finish.opened
      return [text('result', 'same')]
    },
  }))
  await bench.stage('slow')
  const looks = Array.from({ length: 50 }, () => bench.look())
  finish.open()
  assert.equal(new Set(await Promise.all(looks)), new Set(['same']))
  assert.is(bench.sandbox.runs, 1)
  await bench.end()
})

test('an interrupted looker leaves, and the run goes on', async () => {
  const finish = door()
  const bench = await make(() => ({
    slow: async () => {
      await finish.opened
      return [text('result', 'done')]
    },
  }))
  await bench.stage('slow')
  const abort = new AbortController()
  const left = errnoOf(bench.look('result', abort.signal))
  const stays = bench.look()
  abort.abort()
  assert.is(await left, 'EINTR')
  assert.is(await errnoOf(bench.look('result', AbortSignal.abort())), 'EINTR')
  finish.open()
  assert.is(await stays, 'done')
  assert.is(bench.sandbox.runs, 1)
  await bench.end()
})

test('a new program takes over the lookers of the old one', async () => {
  const cancelled = door()
  const bench = await make(() => ({
    endless: async (run) => {
      await new Promise((resolve) => run.signal.addEventListener('abort', resolve))
      cancelled.open()
      return []
    },
    quick: async () => [text('result', 'quick')],
  }))
  await bench.stage('endless')
  const look = bench.look()
  await until(() => bench.status.state === 'running')
  await bench.stage('quick')
  await cancelled.opened
  assert.is(await look, 'quick')
  await bench.end()
})

test('cancel ends a run, its lookers get ECANCELED, and the next look runs again', async () => {
  let endless = true
  const bench = await make(() => ({
    once: async (run) => {
      if (endless) await new Promise((resolve) => run.signal.addEventListener('abort', resolve))
      return [text('result', 'ok')]
    },
  }))
  await bench.stage('once')
  const look = errnoOf(bench.look())
  await until(() => bench.status.state === 'running')
  await bench.compute.control(bench.key, 'cancel', { uid: 0, gid: 0, groups: [] })
  assert.is(await look, 'ECANCELED')
  assert.is(bench.status.state, 'cancelled')
  endless = false
  assert.is(await bench.look(), 'ok')
  await bench.end()
})

test('detaching answers those who wait', async () => {
  const bench = await make(() => ({
    endless: (run) =>
      new Promise((resolve) => run.signal.addEventListener('abort', () => resolve([]))),
  }))
  await bench.stage('endless')
  const look = errnoOf(bench.look())
  await until(() => bench.status.state === 'running')
  await bench.compute.detach(bench.key, { uid: 0, gid: 0, groups: [] })
  assert.is(await look, 'ENOENT')
  assert.is(await errnoOf(bench.look()), 'ENOENT')
  assert.is(bench.compute.entry(bench.key), undefined)
  assert.is(bench.fileServer.programs.size, 0)
  await bench.end()
})

test('a look waits no longer than the wall limit, also in the queue', async () => {
  const bench = await make(
    () => ({
      stuck: () => new Promise(() => undefined),
    }),
    { limits: { ...DEFAULT_RUN_LIMITS, wallMs: 1 } },
  )
  await bench.stage('stuck')
  assert.is(await errnoOf(bench.look()), 'EAGAIN')
  await bench.end()
})

test('the directory is gone: the look fails, nothing hangs', async () => {
  const bench = await make(copyA)
  await bench.write('a', '1')
  await bench.stage('copy')
  assert.is(await bench.look(), '1')
  await rm(bench.file(''), { recursive: true })
  assert.is(await errnoOf(bench.look()), 'ESTALE')
  await bench.compute.forget(bench.key)
  assert.is(await errnoOf(bench.look()), 'ENOENT')
  await bench.end()
})

test('every session is closed at the end', async () => {
  const bench = await make(copyA)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.write('a', '22')
  await bench.look()
  assert.is(bench.openSessions, 1)
  await bench.compute.close()
  assert.is(bench.openSessions, 0)
  await bench.end()
})

async function fresh(bench: Bench, content: string): Promise<string> {
  await bench.write('tmp', content)
  return bench.file('tmp')
}

test.run()
