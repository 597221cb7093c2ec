/** The engine with the product's own volume and sandbox: real programs in real workers. */
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_RUN_LIMITS, SANDBOX_POOL } from '../../src/config/limits.ts'
import { createSandbox, probeJail } from '../../src/sandbox/index.ts'
import type { RunError } from '../../src/compute/index.ts'
import { onSmallDisk } from '../support/small-disk.ts'
import { Bench, errnoOf, ROOT } from './bench.ts'

const test = suite('compute: with the sandbox')

const report = await probeJail()
const jail = report.usable ? 'bubblewrap' : 'unsafe-none'
if (!report.usable)
  console.log('     SKIP the jail, which cannot be made here; workers run without')

const limits = { ...DEFAULT_RUN_LIMITS, wallMs: 20_000, cpuMs: 20_000 }
const sandbox = createSandbox({ ...SANDBOX_POOL, jail, warmLimits: limits })

async function make(state?: string): Promise<Bench> {
  const options = { sandbox, limits, ...(state !== undefined && { stateDirectory: state }) }
  return Bench.makeNative({}, options)
}

const COUNT = `
export default function (dir) {
  const counts = {}
  for (const file of dir.files('*.log'))
    for (const line of file.lines()) counts[line] = (counts[line] ?? 0) + 1
  emit('counts.json', counts)
  console.log('counted')
}`

test('a program answers, and answers again when a file was added or grew', async () => {
  const bench = await make()
  await bench.write('a.log', 'x\ny\nx\n')
  assert.equal(await bench.stage(COUNT), { status: 'attached' })
  assert.equal(JSON.parse(await bench.look('counts.json')), { x: 2, y: 1 })
  await bench.append('a.log', 'z\n')
  assert.equal(JSON.parse(await bench.look('counts.json')), { x: 2, y: 1, z: 1 })
  await bench.write('b.log', 'z\n')
  assert.equal(JSON.parse(await bench.look('counts.json')), { x: 2, y: 1, z: 2 })
  await bench.write('unrelated.txt', '')
  const { version } = bench.status
  assert.equal(JSON.parse(await bench.look('counts.json')), { x: 2, y: 1, z: 2 })
  assert.ok(bench.status.version - version <= 1)
  assert.match(Buffer.from(bench.compute.log(bench.key)).toString(), /counted/)
  assert.match(bench.compute.inputs(bench.key), /^a\.log\tcontent$/m)
  assert.ok((bench.status.cpuMs ?? -1) >= 0)
  await bench.end()
})

test('the same program and the same inputs give the same bytes, after a restart too', async () => {
  const bench = await make()
  const source = `export default () => [Math.random(), Date.now(), crypto.getRandomValues(new Uint8Array(4)).join()]`
  await bench.stage(source)
  const first = await bench.look()
  await bench.compute.control(bench.key, 'rerun', ROOT)
  assert.is(await bench.look(), first)
  await bench.restart()
  await bench.compute.control(bench.key, 'rerun', ROOT)
  assert.is(await bench.look(), first)
  await bench.end()
})

test('errors have the place in the program; a syntax error is broken at once', async () => {
  const bench = await make()
  const source = 'export default function () {\n  const n: number = 1\n  return n.missing.x\n}\n'
  await bench.stage(source)
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(bench.status.error?.name, 'TypeError')
  assert.is(bench.status.error?.line, 3)
  assert.match(bench.compute.error(bench.key), /^TypeError: .*\(line 3, column \d+\)\n/)
  const staged = await bench.stage('export default function ( {')
  assert.is(staged.status, 'broken')
  await bench.end()
})

test('a large result goes by way of the spool, whole', async () => {
  const bench = await make()
  await bench.stage(
    `export default () => { emit('small', 'x'); emit('large', 'abcdefgh'.repeat(1e6)) }`,
  )
  const large = await bench.look('large')
  assert.is(large.length, 8e6)
  assert.ok(large === 'abcdefgh'.repeat(1e6))
  assert.is(await bench.read('current', 'small'), 'x')
  await bench.end()
})

test('an endless program is stopped at its limit, and is not run again for the same look', async () => {
  const short = { ...limits, wallMs: 500 }
  const bench = await Bench.makeNative({}, { sandbox, limits: short })
  await bench.stage('for (;;) {}')
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(bench.status.error?.limit, 'wall')
  const { endedAt } = bench.status
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(bench.status.endedAt, endedAt)
  await bench.stage('export default () => "after"')
  assert.is(await bench.look(), 'after')
  await bench.end()
})

test('a query uses the attached program', async () => {
  const bench = await make()
  await bench.write('a', 'hello')
  await bench.stage(`export default (dir, name = 'a') => dir.file(name).text().toUpperCase()`)
  assert.is(await bench.look(), 'HELLO')
  await bench.write('b', 'other')
  const answer = await bench.compute.query(
    bench.key,
    Buffer.from(`import program from '.compute'\nexport default (dir) => program(dir, 'b') + '!'`),
    ROOT,
    new AbortController().signal,
  )
  assert.is(Buffer.from(answer.bytes).toString(), 'OTHER!')
  const broken = bench.compute.query(bench.key, Buffer.from('('), ROOT, AbortSignal.timeout(20_000))
  const error = await broken.then(
    () => undefined,
    (thrown: unknown) => thrown as RunError,
  )
  assert.is(error?.code, 'ENOEXEC')
  await bench.end()
})

test('the results store runs full, and has room again', () =>
  onSmallDisk(3_000_000, async (disk) => {
    const bench = await make(path.join(disk, 'state'))
    await bench.write('a', '1')
    await bench.stage(`export default (dir) => emit('big', 'x'.repeat(1e6 * dir.file('a').text()))`)
    assert.is((await bench.look('big')).length, 1e6)
    await bench.write('a', '9')
    assert.is(await errnoOf(bench.look('big')), 'EIO')
    assert.match(bench.compute.error(bench.key), /the results store is full/)
    assert.is((await bench.read('last', 'big')).length, 1e6)
    await bench.write('a', '0')
    assert.is(await bench.look('big'), '')
    await bench.end()
  }))

test('a full disk under the spool is told, and stands for nothing', () =>
  onSmallDisk(3_000_000, async (disk) => {
    const own = createSandbox({ ...SANDBOX_POOL, jail, spoolDirectory: disk })
    const bench = await Bench.makeNative({}, { sandbox: own, limits })
    const ballast = path.join(disk, 'ballast')
    await writeFile(ballast, Buffer.alloc(2_500_000))
    await bench.stage(`
      try { emit('big', 'x'.repeat(2e6)) } catch {}
      emit('second', 'not the program\\'s to handle')`)
    assert.is(await errnoOf(bench.look('second')), 'EIO')
    assert.match(
      bench.compute.error(bench.key),
      /^StoreError: the results store is full: free space/,
    )
    await rm(ballast)
    assert.is((await bench.look('big')).length, 2e6)
    await bench.end()
    await own.close()
  }))

test.after(async () => {
  await sandbox.close()
})

test.run()
