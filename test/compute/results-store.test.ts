/** Sets on disk: whole or not at all, whatever fails. */
import { closeSync, openSync, readdirSync, readlinkSync, writeSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DEFAULT_COMPUTE_LIMITS, DEFAULT_RUN_LIMITS } from '../../src/config/limits.ts'
import { decodeManifest, encodeManifest, type Manifest } from '../../src/compute/manifest.ts'
import { readResult } from '../../src/compute/result-files.ts'
import { ResultsStore, type StoredSet } from '../../src/compute/results-store.ts'
import { setBytes } from '../../src/compute/stored-bytes.ts'
import type { RunResult } from '../../src/sandbox/types.ts'
import { FailingFiles } from '../support/failing-files.ts'
import { type Guest, text } from '../support/fake-sandbox.ts'
import { Bench, errnoOf } from './bench.ts'

const test = suite('compute: results store')

const MANIFEST: Manifest = {
  key: 'k',
  version: 1,
  program: 'p',
  principal: { uid: 1, gid: 2, groups: [3] },
  runtime: 'r',
  limits: DEFAULT_RUN_LIMITS,
  bootId: 'another boot',
  mtimeNs: 2n ** 62n,
  mode: 0o444,
  cpuMs: 1,
  results: [],
  inputs: [
    {
      path: '12n',
      kind: 'file',
      dev: 2n ** 63n,
      ino: 1n,
      birthNs: 2n,
      sizeBytes: 3n,
      mtimeNs: 4n,
      ctimeNs: 5n,
    },
  ],
}

async function inScratch(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'insitu-store-'))
  try {
    await work(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

test('a manifest comes back as it was; a half one is none', () => {
  const encoded = encodeManifest(MANIFEST)
  const { format, ...decoded } = decodeManifest(encoded) as Manifest & { format: number }
  assert.is(format, 1)
  assert.equal(decoded, MANIFEST)
  for (let length = 0; length < encoded.length; length += 7)
    assert.is(decodeManifest(encoded.slice(0, length)), undefined)
  assert.is(decodeManifest('{"format":2}'), undefined)
  assert.is(decodeManifest('null'), undefined)
})

test('inline results and ranges of a spool become files, sizes and etags', () =>
  inScratch(async (folder) => {
    const spool = path.join(folder, 'spool')
    const fd = openSync(spool, 'w+')
    const large = Buffer.alloc(3_000_000, 'abcdefg')
    writeSync(fd, Buffer.concat([Buffer.from('12345'), large]))
    const results: RunResult[] = [
      text('small', 'xyz'),
      { name: 'range', spool: { fd, offset: 2, sizeBytes: 3 } },
      { name: 'large', spool: { fd, offset: 5, sizeBytes: large.length } },
      { name: 'none', spool: { fd, offset: 0, sizeBytes: 0 } },
    ]
    const store = new ResultsStore(path.join(folder, 'results'), { spares: 0 })
    await store.open()
    const stored = await store.write(results, (results) => ({ ...MANIFEST, results }))
    const set = stored.folder
    assert.is(await store.load('k', 1), undefined, 'nobody said that it is whole')
    await store.keep(stored)
    assert.is(await fs.readFile(path.join(set, 'small'), 'utf8'), 'xyz')
    assert.is(await fs.readFile(path.join(set, 'range'), 'utf8'), '345')
    assert.ok(large.equals(await fs.readFile(path.join(set, 'large'))))
    assert.is((await fs.stat(path.join(set, 'none'))).size, 0)
    assert.ok(large.equals(await readResult(results[2] ?? text('', ''))))
    // Written before "another boot" ended: every byte is compared.
    assert.is((await store.load('k', 1))?.manifest.results.length, 4)
    await fs.writeFile(path.join(set, 'range'), '346')
    assert.is(await store.load('k', 1), undefined)
    closeSync(fd)
  }))

test('a spool that is shorter than it was said to be is refused', () =>
  inScratch(async (folder) => {
    const fd = openSync(path.join(folder, 'spool'), 'w+')
    writeSync(fd, 'abc')
    const store = new ResultsStore(path.join(folder, 'results'), { spares: 0 })
    await store.open()
    const results = [{ name: 'x', spool: { fd, offset: 1, sizeBytes: 3 } }]
    const write = store.write(results, () => MANIFEST)
    assert.match(await write.then(String, String), /wrote less of a result than it said/)
    assert.equal(readdirSync(path.join(folder, 'results/.incoming')), [])
    closeSync(fd)
  }))

test('a set that was made ahead holds what was written, and nothing else', () =>
  inScratch(async (folder) => {
    const store = new ResultsStore(folder, { spares: 1 })
    await store.open()
    for (const [version, names] of [[], ['a'], ['a', 'b', 'c'], ['x']].entries()) {
      await store.close()
      const results = names.map((name) => text(name, name + version))
      const stored = await store.write(results, (published) => ({
        ...MANIFEST,
        version,
        results: published,
      }))
      const set = stored.folder
      await store.keep(stored)
      assert.equal(readdirSync(set).toSorted(), ['.manifest.json', ...names])
      for (const name of names)
        assert.is(await fs.readFile(path.join(set, name), 'utf8'), name + version)
      assert.is((await store.load('k', version))?.manifest.results.length, names.length)
    }
    await store.close()
    assert.is(readdirSync(path.join(folder, '.incoming')).length, 1)
  }))

test('a name that leaves the folder is refused, whoever let it through', () =>
  inScratch(async (folder) => {
    const store = new ResultsStore(folder, { spares: 0 })
    await store.open()
    for (const name of ['../x', 'a/b', '..', '.', '', '.hidden', 'n\0l', 'x'.repeat(256)]) {
      const write = store.write([text(name, '')], () => MANIFEST)
      assert.match(await write.then(String, String), /name of a result/)
    }
    const twice = store.write([text('a', ''), text('a', '')], () => MANIFEST)
    assert.match(await twice.then(String, String), /name of a result/)
  }))

test('the sets that were asked for longest ago make room for a new one', () =>
  inScratch(async (folder) => {
    const bytes = 3 * setBytes([{ sizeBytes: 5_000 }])
    const store = new ResultsStore(folder, { spares: 0, bytes })
    await store.open()
    const write = (version: number, sizeBytes: number): Promise<StoredSet> =>
      store.write([text('x', 'x'.repeat(sizeBytes))], (results) => ({
        ...MANIFEST,
        version,
        results,
      }))
    const one = await write(1, 5_000)
    const two = await write(2, 5_000)
    await write(3, 5_000)
    assert.ok(store.has(one))
    await write(4, 5_000)
    await store.close()
    assert.equal(await store.versions('k'), [4, 3, 1])
    assert.not.ok(store.has(two))
    await store.removeAll('k')
    for (const version of [5, 6, 7]) await write(version, 5_000)
    await store.close()
    assert.equal(await store.versions('k'), [7, 6, 5], 'what was removed takes no room')
    assert.match(await write(8, bytes).then(String, String), /may take 49152; emit less/)
    assert.equal(await store.versions('k'), [7, 6, 5], 'what finds no room takes none from others')
  }))

test('a manifest that names many inputs takes room like results', () =>
  inScratch(async (folder) => {
    const bytes = 3 * setBytes([{ sizeBytes: 5_000 }])
    const store = new ResultsStore(folder, { spares: 0, bytes })
    await store.open()
    const [input] = MANIFEST.inputs
    const write = (version: number, inputs = MANIFEST.inputs) =>
      store.write([text('x', 'x'.repeat(5_000))], (results) => ({
        ...MANIFEST,
        version,
        results,
        inputs,
      }))
    for (const version of [1, 2]) await store.keep(await write(version))
    assert.equal(await store.versions('k'), [2, 1])
    assert.ok(input !== undefined)
    await store.keep(await write(3, [{ ...input, path: 'n'.repeat(9_000) }]))
    await store.close()
    assert.equal(await store.versions('k'), [3, 2])
  }))

test('results that had to make room are computed again when they are asked for', async () => {
  const runs: string[] = []
  const emitting =
    (name: string): Guest =>
    async () => {
      runs.push(name)
      return [text('result', name)]
    }
  const bounds = { ...DEFAULT_COMPUTE_LIMITS, storedBytes: setBytes([{ sizeBytes: 1 }]) }
  const bench = await Bench.make({ a: emitting('a'), b: emitting('b') }, { bounds })
  const above = await bench.volume.keyOf('')
  const below = bench.key
  for (const [name, key] of [
    ['a', below],
    ['b', above],
  ] as const) {
    bench.key = key
    await bench.stage(name)
    assert.is(await bench.look(), name)
  }
  bench.key = below
  assert.is(await bench.look(), 'a')
  assert.equal(runs, ['a', 'b', 'a'])
  await bench.end()
})

test('versions are listed newest first; what is not whole is not loaded', () =>
  inScratch(async (folder) => {
    const store = new ResultsStore(folder, { spares: 0 })
    await store.open()
    for (const version of [9, 10, 2])
      await store.write([text('x', '')], (results) => ({ ...MANIFEST, version, results }))
    assert.equal(await store.versions('k'), [10, 9, 2])
    await store.remove('k', 10)
    assert.equal(await store.versions('k'), [9, 2])
    await store.write([], () => ({ ...MANIFEST, key: 'other' }))
    await store.removeOthers(['k'])
    assert.equal(await store.versions('other'), [])
    await store.removeAll('k')
    await store.removeAll('k')
    assert.equal(await store.versions('k'), [])
    assert.equal(readdirSync(path.join(folder, '.incoming')), [])
  }))

const USAGE = { wallMs: 1, cpuMs: 1, peakMemoryBytes: 1 }

const spooled = async (folder: string): Promise<{ results: RunResult[]; fd: number }> => {
  const file = path.join(folder, 'spool')
  await fs.writeFile(file, 'x'.repeat(2_000_000))
  const fd = openSync(file, 'r')
  return { fd, results: [text('a', 'a'), { name: 'b', spool: { fd, offset: 0, sizeBytes: 2e6 } }] }
}

const FAULTS = [
  { code: 'ENOSPC', always: false, spares: 0 },
  { code: 'ENOSPC', always: true, spares: 0 },
  { code: 'EIO', always: false, spares: 0 },
  { code: 'EIO', always: true, spares: 0 },
  { code: 'ENOSPC', always: false, spares: 2 },
  { code: 'ENOSPC', always: true, spares: 2 },
]

for (const { code, always, spares } of FAULTS)
  test(`the Nth call fails with ${code}${always ? ' and so do all after it' : ''}, for every N, with ${spares} sets made ahead`, async () => {
    const failing = new FailingFiles()
    let previous = ''
    const bench = await Bench.make(
      {
        two: async (run) => {
          const { results, fd } = await spooled(bench.root)
          await run.inputs.open('a').catch(() => undefined)
          return {
            status: 'ok',
            results: [...results, text('text', run.text)],
            spoolFd: fd,
            usage: USAGE,
          }
        },
      },
      { store: { files: failing.files, spares } },
    )
    await bench.write('a', '0')
    await bench.stage('two')
    await bench.look('text')
    previous = await bench.read('current', 'text')
    let failures = 0
    let tries = 0
    for (let n = 1; ; n++) {
      tries += 1
      await bench.write('a', String(tries))
      const version = bench.published('last')?.version
      failing.arm(n, code, always)
      const outcome = await errnoOf(bench.look('text'))
      const calls = failing.calls
      failing.disarm()
      if (outcome === 'none') {
        // The first N that the whole write does not reach.
        if (calls < n) break
        // A failed removal of old sets is none; it may have come between, so the same N again.
        if (tries < 5 * n) n -= 1
        continue
      }
      failures += 1
      assert.is(outcome, 'EIO')
      assert.match(
        bench.compute.error(bench.key),
        code === 'ENOSPC' ? /^StoreError: the results store is full: / : /^StoreError: .*EIO/,
      )
      assert.is(bench.published('current'), undefined)
      assert.is(bench.published('last')?.version, version)
      assert.is(await bench.read('last', 'text'), previous)
      assert.is((await bench.read('last', 'b')).length, 2_000_000)
      assert.is(await bench.look('text'), 'two', 'there is space again')
    }
    assert.ok(failures >= (spares === 0 ? 8 : 4), `${failures} calls were made to fail`)
    assert.is(bench.openSessions, 1)
    await bench.restart()
    assert.is(await bench.look('text'), 'two')
    await bench.compute.close()
    assert.ok(readdirSync(path.join(bench.state, 'results/.incoming')).length <= spares)
    await bench.end()
  })

test('the spool is closed, also of a try that did not count', async () => {
  let tries = 0
  const bench = await Bench.make({
    racing: async (run) => {
      await run.inputs.open('a')
      const { results, fd: spoolFd } = await spooled(bench.root)
      if (++tries === 1) {
        await bench.write('next', 'next')
        await fs.rename(bench.file('next'), bench.file('a'))
      }
      return { status: 'ok', results, spoolFd, usage: USAGE }
    },
  })
  await bench.write('a', '')
  await bench.stage('racing')
  await bench.look('b')
  assert.is(tries, 2)
  assert.is(openDescriptors(path.join(bench.root, 'spool')), 0)
  await bench.end()
})

function openDescriptors(file: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === file
    } catch {
      return false
    }
  }).length
}

test('old sets are removed, the published one and the one before stay', async () => {
  const bench = await Bench.make({
    n: async (run) => [text('result', run.text)],
  })
  for (let n = 1; n <= 5; n++) {
    await bench.stage(`n ${n}`)
    await bench.look()
  }
  await bench.compute.close()
  const [directory] = readdirSync(path.join(bench.state, 'results')).filter(
    (n) => n !== '.incoming',
  )
  const versions = readdirSync(path.join(bench.state, 'results', directory ?? ''))
  assert.equal(versions.toSorted(), ['4', '5'])
  await bench.end()
})

test.run()
