/** Programs through the whole sandbox: what they give, and every limit. */
import { closeSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VfsError } from '../../src/errors.ts'
import type { RunRequest, Sandbox } from '../../src/sandbox/types.ts'
import { LIMITS, request, resultsOf, tableInputs, withSandbox } from './sandbox-kit.ts'

const test = suite('sandbox: runs')

async function results(sandbox: Sandbox, asked: RunRequest): Promise<Record<string, string>> {
  const outcome = await sandbox.run(asked).outcome
  try {
    return resultsOf(outcome)
  } finally {
    if (outcome.status === 'ok' && outcome.spoolFd !== undefined) closeSync(outcome.spoolFd)
  }
}

test('a program reads its inputs and emits results', async () => {
  await withSandbox({}, async (sandbox) => {
    const inputs = tableInputs({ 'a.txt': 'one\ntwo\n', 'b.txt': 'three\n' })
    const source = `for (const f of dir.files('*.txt')) emit(f.name + '.count', String([...f.lines()].length))
      'end'`
    assert.equal(await results(sandbox, request(source, { inputs })), {
      'a.txt.count': '2',
      'b.txt.count': '1',
      result: 'end',
    })
  })
})

test('a listing that needs many frames arrives whole', async () => {
  await withSandbox({}, async (sandbox) => {
    const names = Array.from({ length: 5_000 }, (_, i) => `${'é'.repeat(40)}-${i}`)
    const inputs = {
      ...tableInputs({}),
      list: async () => names.map((name) => ({ name, kind: 'file' })),
    }
    const source = `[...dir.names()].length`
    const outcome = await sandbox.run(request(source, { inputs })).outcome
    const texts = outcome.status === 'ok' ? resultsOf(outcome) : {}
    assert.is(texts['result']?.trim(), '5000', JSON.stringify(outcome).slice(0, 300))
  })
})

test('large results come in a spool file, in the order of their names', async () => {
  await withSandbox({}, async (sandbox) => {
    const source = `emit('small', 'x'); emit('large', 'y'.repeat(1_000_000)); emit('empty', ''); emit('last', 'z')`
    const found = await results(sandbox, request(source))
    assert.is(found['small'], 'x')
    assert.is(found['large'], 'y'.repeat(1_000_000))
    assert.is(found['empty'], '')
    assert.is(found['last'], 'z')
  })
})

test('what an input refuses reaches the program as an error with its code', async () => {
  await withSandbox({}, async (sandbox) => {
    const inputs = {
      ...tableInputs({}),
      open: async () => {
        throw new VfsError('EACCES', 'it is not yours')
      },
    }
    const source = `try { dir.file('x').text() } catch (e) { emit('code', e.code) }`
    const found = await results(sandbox, request(source, { inputs }))
    assert.is(found['code'], 'EACCES')
  })
})

test('the log arrives, and no more of it than its limit', async () => {
  await withSandbox({}, async (sandbox) => {
    let log = ''
    const source = `console.log('héllo'); for (let i = 0; i < 100_000; i++) console.log('line ' + i)`
    const onLog = (text: string): void => void (log += text)
    const outcome = await sandbox.run(request(source, { onLog })).outcome
    assert.is(outcome.status, 'ok', JSON.stringify(outcome))
    assert.ok(log.startsWith('héllo\nline 0\n'), log.slice(0, 40))
    assert.ok(Buffer.byteLength(log) <= LIMITS.logBytes)
    assert.ok(Buffer.byteLength(log) > LIMITS.logBytes / 2)
  })
})

test('errors of a program are told apart by where they happen', async () => {
  await withSandbox({}, async (sandbox) => {
    const broken = await sandbox.run(request('let x = \n)')).outcome
    assert.is(broken.status === 'failed' && broken.phase, 'compile')
    const failing = await sandbox.run(request('\nthrow new TypeError("no")')).outcome
    if (failing.status !== 'failed') throw new Error(failing.status)
    assert.is(failing.phase, 'run')
    assert.is(failing.error.name, 'TypeError')
    assert.is(failing.error.line, 2)
    assert.is(sandbox.statistics().kills, 0)
  })
})

test('a checked program runs without being compiled again', async () => {
  await withSandbox({ idleWorkers: 0 }, async (sandbox) => {
    const asked = request('6 * 7')
    assert.equal(await sandbox.check(asked), { status: 'ok' })
    const { workers } = sandbox.statistics()
    assert.is((await results(sandbox, asked))['result']?.trim(), '42')
    assert.is(workers, 1)
    const bad = await sandbox.check(request('6 *'))
    assert.is(bad.status, 'failed')
    // A worker that holds another program compiles anew.
    assert.equal(await sandbox.check(request('1')), { status: 'ok' })
    assert.is((await results(sandbox, request('2')))['result']?.trim(), '2')
  })
})

test('a query imports its library', async () => {
  await withSandbox({}, async (sandbox) => {
    const source = `import program from '.compute'; export default () => program(20) + 2`
    const library = Buffer.from('export default (n) => n * 2')
    assert.is((await results(sandbox, request(source, { library })))['result']?.trim(), '42')
  })
})

const limits: [string, string, Partial<typeof LIMITS>, string][] = [
  ['wall', 'for (;;);', { wallMs: 300 }, 'wall'],
  ['cpu', 'for (;;);', { cpuMs: 200 }, 'cpu'],
  ['uninterruptible work', '10n ** (10n ** 8n)', { wallMs: 500 }, 'wall'],
  ['output', 'for (;;) emit("x" + Math.random(), "y".repeat(100_000))', {}, 'output'],
  ['results', 'for (let i = 0; ; i++) emit("x" + i, "")', { resultFiles: 10 }, 'files'],
  ['inputs', 'for (let i = 0; ; i++) try { dir.file("x" + i).text() } catch {}', {}, 'inputs'],
  ['program', `/*${'x'.repeat(200_000)}*/ 1`, {}, 'program'],
]
for (const [name, source, bounds, limit] of limits)
  test(`over the limit of ${name}`, async () => {
    await withSandbox({}, async (sandbox) => {
      const asked = request(source, { limits: { ...LIMITS, ...bounds } })
      const outcome = await sandbox.run(asked).outcome
      assert.is(outcome.status, 'over-limit', JSON.stringify(outcome).slice(0, 300))
      assert.is(outcome.status === 'over-limit' && outcome.limit, limit)
      assert.is((await results(sandbox, request('"next"')))['result'], 'next')
    })
  })

test('memory of every kind is bounded, whatever V8 makes of it', async () => {
  await withSandbox({}, async (sandbox) => {
    const programs = [
      'const a = []; for (;;) a.push(new Array(100_000).fill(a.length))',
      'const a = []; for (;;) a.push(new Uint8Array(8_000_000).fill(1))',
      'const a = []; for (;;) { const m = new WebAssembly.Memory({ initial: 100 }); new Uint8Array(m.buffer).fill(1); a.push(m) }',
      'let s = "x"; const a = []; for (;;) { s += s.slice(0, 100_000) + a.length; a.push(s.replaceAll("x", "yy")) }',
    ]
    const limits = {
      ...LIMITS,
      memoryBytes: 64 * 1024 * 1024,
      wallMs: 200_000,
      cpuMs: 100_000,
    }
    for (const source of programs) {
      const asked = request(source, { limits })
      const outcome = await sandbox.run(asked).outcome
      // V8 refuses some allocations with an error that the program sees; others end the isolate.
      const bounded =
        (outcome.status === 'failed' && outcome.error.name === 'RangeError') ||
        (outcome.status === 'over-limit' && outcome.limit === 'memory')
      assert.ok(bounded, JSON.stringify(outcome).slice(0, 300))
      const { peakMemoryBytes } = outcome.usage
      assert.ok(peakMemoryBytes < 320 * 1024 * 1024, `${source}: ${peakMemoryBytes} bytes at most`)
    }
  })
})

test('usage is measured', async () => {
  await withSandbox({}, async (sandbox) => {
    const source =
      'const end = performance.now(); let n = 0; for (let i = 0; i < 2e8; i++) n += i; n'
    const { usage } = await sandbox.run(request(source)).outcome
    assert.ok(usage.cpuMs > 10, `${usage.cpuMs} ms`)
    assert.ok(usage.wallMs >= usage.cpuMs / 4, `${usage.wallMs} ms`)
    assert.ok(usage.peakMemoryBytes > 10 * 1024 * 1024)
  })
})

test.run()
