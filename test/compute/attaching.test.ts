/** Attaching, replacing, removing: rights, quotas, programs that do not compile. */
import { chmod, chown } from 'node:fs/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_COMPUTE_LIMITS, DEFAULT_RUN_LIMITS } from '../../src/config/limits.ts'
import type { Principal } from '../../src/file-server/types.ts'
import { refusal } from '../../src/compute/rights.ts'
import { text } from '../support/fake-sandbox.ts'
import { Bench, errnoOf, until, ROOT } from './bench.ts'

const test = suite('compute: attaching')
const guests = { ok: async () => [text('result', 'ok')] }

function isRoot(): boolean {
  if (process.getuid?.() === 0) return true
  console.log('SKIP needs root to own files as others')
  return false
}

test('the same bytes by the same principal are no new run', async () => {
  const bench = await Bench.make(guests)
  assert.equal(await bench.stage('ok'), { status: 'attached' })
  await bench.look()
  assert.equal(await bench.stage('ok'), { status: 'unchanged' })
  assert.is(bench.sandbox.runs, 1)
  assert.equal(await bench.stage('ok 2'), { status: 'attached' })
  await bench.look()
  assert.is(bench.sandbox.runs, 2)
  assert.is(bench.published('current')?.version, 2)
  await bench.end()
})

test('a run starts when a program is attached, without a look', async () => {
  const bench = await Bench.make(guests)
  await bench.stage('ok')
  await until(() => bench.published('current') !== undefined)
  assert.is(await bench.read('current'), 'ok')
  await bench.end()
})

test('entry, source and status tell what is attached', async () => {
  const bench = await Bench.make(guests)
  assert.is(bench.compute.entry(bench.key), undefined)
  assert.is(bench.compute.status(bench.key), undefined)
  await bench.stage('ok')
  await bench.look()
  const entry = bench.compute.entry(bench.key)
  assert.is(entry?.sizeBytes, 2)
  assert.equal(entry?.principal, { uid: 0, gid: 0 })
  assert.equal(bench.fileServer.programs.get(bench.key), entry)
  assert.is(Buffer.from(bench.compute.source(bench.key) ?? []).toString(), 'ok')
  const { state, version, results, error, program } = bench.status
  assert.equal(
    { state, version, results, error },
    {
      state: 'ok',
      version: 1,
      results: [{ name: 'result', sizeBytes: 2 }],
      error: undefined,
    },
  )
  assert.match(program, /^[0-9a-f]{64}$/)
  const [summary, ...more] = await bench.compute.list()
  assert.is(more.length, 0)
  assert.is(summary?.path, 'd')
  assert.is(summary?.state, 'ok')
  await bench.end()
})

test('a program that does not compile is attached as broken, or refused where asked', async () => {
  const bench = await Bench.make(guests)
  await bench.stage('ok')
  await bench.look()
  const kept = await bench.compute.stage(bench.key, Buffer.from('syntax-error'), ROOT, {
    keepBroken: () => false,
  })
  assert.is(kept.status, 'broken')
  assert.is(await bench.look(), 'ok')
  assert.is((await bench.stage('syntax-error')).status, 'broken')
  assert.is(bench.status.state, 'broken')
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.match(
    bench.compute.error(bench.key),
    /^SyntaxError: unexpected token \(line 3, column 7\)/,
  )
  const checks = bench.sandbox.checks
  assert.is((await bench.stage('syntax-error')).status, 'broken', 'again, and without a compile')
  assert.is(bench.sandbox.checks, checks)
  assert.is(bench.sandbox.runs, 1)
  assert.is(await bench.read('last'), 'ok')
  await bench.end()
})

test('what stops a compile decides whether anything is attached', async () => {
  const bench = await Bench.make(guests)
  const message = 'x'
  const limit = { status: 'over-limit', message } as const
  for (const [outcome, expected] of [
    [{ status: 'unavailable', message }, 'ENOTSUP'],
    [{ status: 'crashed', message }, 'EIO'],
    [{ ...limit, limit: 'queue' }, 'EAGAIN'],
  ] as const) {
    bench.sandbox.nextChecks.push(outcome)
    assert.is(await errnoOf(bench.stage('ok')), expected)
    assert.is(bench.compute.entry(bench.key), undefined)
  }
  bench.sandbox.nextChecks.push({ ...limit, limit: 'cpu' })
  assert.is((await bench.stage('ok')).status, 'broken')
  await bench.end()
})

test('too large is EFBIG, too many is EDQUOT', async () => {
  const bench = await Bench.make(guests, {
    limits: { ...DEFAULT_RUN_LIMITS, programBytes: 4 },
    bounds: { ...DEFAULT_COMPUTE_LIMITS, programs: 1 },
  })
  assert.is(await errnoOf(bench.stage('ok 12')), 'EFBIG')
  await bench.stage('ok')
  await bench.stage('ok 2')
  const other = await bench.volume.keyOf('')
  assert.is(await errnoOf(bench.compute.stage(other, Buffer.from('ok'), ROOT)), 'EDQUOT')
  await bench.compute.detach(bench.key, ROOT)
  assert.is(await errnoOf(bench.compute.stage(other, Buffer.from('ok'), ROOT)), 'none')
  await bench.end()
})

test('staged at once, the last one wins, and nothing is mixed', async () => {
  const bench = await Bench.make({ n: async (run) => [text('result', run.text)] })
  await Promise.all(Array.from({ length: 20 }, (_, index) => bench.stage(`n ${index}`)))
  assert.is(await bench.look(), 'n 19')
  await bench.end()
})

test('the staged bytes are the program, whatever becomes of the buffer', async () => {
  const bench = await Bench.make({ n: async (run) => [text('result', run.text)] })
  const buffer = Buffer.from('n 1')
  const staged = bench.compute.stage(bench.key, buffer, ROOT)
  buffer.fill('x')
  await staged
  assert.is(await bench.look(), 'n 1')
  await bench.end()
})

test('only who may write in the directory may attach, replace, detach, steer', async () => {
  if (!isRoot()) return
  const bench = await Bench.make(guests)
  const owner: Principal = { uid: 1001, gid: 1001, groups: [] }
  const other: Principal = { uid: 1002, gid: 1002, groups: [] }
  await chown(bench.file(''), 1001, 1001)
  await chmod(bench.file(''), 0o755)
  assert.is(await errnoOf(bench.stage('ok', other)), 'EACCES')
  assert.is(await errnoOf(bench.stage('ok', owner)), 'none')
  assert.is(await errnoOf(bench.stage('ok 2', other)), 'EACCES')
  assert.is(await errnoOf(bench.compute.detach(bench.key, other)), 'EACCES')
  assert.is(await errnoOf(bench.compute.control(bench.key, 'rerun', other)), 'EACCES')
  assert.is(await errnoOf(bench.compute.control(bench.key, 'rerun', owner)), 'none')
  await chmod(bench.file(''), 0o1777)
  assert.is(await errnoOf(bench.stage('ok 2', other)), 'EPERM')
  assert.is(await errnoOf(bench.compute.detach(bench.key, other)), 'EPERM')
  await chmod(bench.file(''), 0o777)
  assert.is(await errnoOf(bench.stage('ok 2', other)), 'none')
  assert.is(bench.compute.entry(bench.key)?.principal.uid, 1002)
  await bench.end()
})

test('the right to be there is looked at again at each run', async () => {
  if (!isRoot()) return
  const bench = await Bench.make(guests)
  const owner: Principal = { uid: 1001, gid: 1001, groups: [] }
  await chmod(bench.file(''), 0o777)
  await bench.stage('ok', owner)
  assert.is(await bench.look(), 'ok')
  await chmod(bench.file(''), 0o700)
  await bench.compute.control(bench.key, 'rerun', owner)
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.match(bench.compute.error(bench.key), /^RightsError: uid 1001/)
  await chmod(bench.file(''), 0o777)
  assert.is(await bench.look(), 'ok')
  await bench.end()
})

test('results are readable as far as every input is', async () => {
  const bench = await Bench.make({
    both: async (run) => {
      await run.inputs.open('a')
      await run.inputs.open('b')
      return [text('result', '')]
    },
  })
  await bench.write('a', '')
  await bench.write('b', '')
  for (const [a, b, expected] of [
    [0o644, 0o644, 0o444],
    [0o644, 0o600, 0o400],
    [0o640, 0o644, 0o440],
  ] as const) {
    await chmod(bench.file('a'), a)
    await chmod(bench.file('b'), b)
    await bench.stage('both').then(() => bench.look())
    assert.is(bench.published('current')?.mode, expected)
  }
  await bench.end()
})

test('inputs and extended attributes say what a set was computed from', async () => {
  const bench = await Bench.make({
    mixed: async (run) => {
      await run.inputs.list('')
      await run.inputs.open('a\nb')
      await run.inputs.stat('none').catch(() => undefined)
      run.onLog('hello\n')
      return [text('x', '1'), text('y', '1')]
    },
  })
  await bench.write('a\nb', '')
  await bench.stage('mixed')
  await bench.look('x')
  assert.is(bench.compute.inputs(bench.key), '.\tlisting\na\\nb\tcontent\nnone\tabsence\n')
  assert.is(Buffer.from(bench.compute.log(bench.key)).toString(), 'hello\n')
  const set = bench.published('current')
  assert.is(set?.xattrs['program'], bench.status.program)
  assert.match(set?.xattrs['runtime'] ?? '', /^insitu\/\S+ node\/\S+ api\/\d+$/)
  assert.match(set?.xattrs['inputs'] ?? '', /^3 sha256:[0-9a-f]{64}$/)
  assert.match(set?.xattrs['cpu_ms'] ?? '', /^\d+$/)
  assert.is(set?.results[0]?.etag, set?.results[1]?.etag)
  await bench.end()
})

test('who may replace a program, as a table', () => {
  const [alice, bob, carol, root] = [1, 2, 3, 0].map((uid) => ({ uid, gid: uid, groups: [] }))
  const plain = { uid: 3, mode: 0o777 }
  const sticky = { uid: 3, mode: 0o1777 }
  const table = [
    [plain, true, bob, 1, undefined],
    [plain, false, bob, 1, 'EACCES'],
    [sticky, true, bob, undefined, undefined],
    [sticky, true, bob, 1, 'EPERM'],
    [sticky, true, alice, 1, undefined],
    [sticky, true, carol, 1, undefined],
    [sticky, true, root, 1, undefined],
    [sticky, false, alice, 1, 'EACCES'],
  ] as const
  for (const [directory, mayWrite, principal, owner, expected] of table)
    assert.is(refusal(directory, mayWrite, principal ?? ROOT, owner)?.code, expected)
})

test.run()
