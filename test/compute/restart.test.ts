/** What an engine finds when it starts: after a clean stop, a kill at any point, another boot. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Database } from '../../src/compute/database.ts'
import { text, type Guest } from '../support/fake-sandbox.ts'
import { Bench, errnoOf, ROOT, until } from './bench.ts'

const test = suite('compute: restart')

let bench: Bench
const guests: Record<string, Guest> = {
  copy: async (run) => {
    await run.inputs.open('a')
    const bytes = await fs.readFile(bench.file('a'), 'utf8')
    if (bytes === 'bad') throw new Error('bad')
    run.onLog(`read ${bytes}\n`)
    return [text('result', bytes)]
  },
}

test('programs, results, log and version survive; unchanged inputs are no new run', async () => {
  bench = await Bench.make(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.restart()
  assert.is(bench.fileServer.programs.size, 1)
  assert.is(await bench.read('last'), '1', 'restored without a look')
  assert.is(await bench.look(), '1')
  assert.is(bench.sandbox.runs, 1)
  assert.is(bench.status.state, 'ok')
  assert.is(bench.status.version, 1)
  assert.is(Buffer.from(bench.compute.log(bench.key)).toString(), 'read 1\n')
  assert.is(bench.compute.inputs(bench.key), 'a\tcontent\n')
  assert.equal(await bench.stage('copy'), { status: 'unchanged' })
  await bench.write('a', '22')
  assert.is(await bench.look(), '22')
  assert.is(bench.published('current')?.version, 2)
  await bench.end()
})

test('an input that changed while nothing ran is seen', async () => {
  bench = await Bench.make(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.compute.close()
  await bench.write('a', '2')
  await bench.restart()
  assert.is(await bench.look(), '2')
  await bench.end()
})

test('directories are found again by identity', async () => {
  bench = await Bench.make(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await fs.rename(bench.file(''), path.join(bench.root, 'backing', 'moved'))
  await bench.restart()
  assert.is((await bench.compute.list())[0]?.path, 'moved')
  await fs.rm(path.join(bench.root, 'backing', 'moved'), { recursive: true })
  await bench.restart()
  assert.is((await bench.compute.list())[0]?.path, undefined)
  await bench.compute.forget(bench.key)
  await bench.restart()
  assert.equal(await bench.compute.list(), [])
  await bench.end()
})

test('a broken program stays broken, a failed one runs again', async () => {
  bench = await Bench.make(guests)
  await bench.write('a', 'bad')
  await bench.stage('copy')
  assert.is(await errnoOf(bench.look()), 'EIO')
  await bench.restart()
  assert.is(bench.status.state, 'failed')
  assert.match(bench.compute.error(bench.key), /^Error: bad/)
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is(bench.sandbox.runs, 2)
  await bench.stage('syntax-error')
  await bench.restart()
  assert.is(bench.status.state, 'broken')
  assert.is(await errnoOf(bench.look()), 'EIO')
  assert.is((await bench.stage('syntax-error')).status, 'broken')
  await bench.end()
})

test('versions are not used again after a detach and a restart', async () => {
  bench = await Bench.make(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.compute.detach(bench.key, ROOT)
  await bench.restart()
  await bench.stage('copy')
  await bench.look()
  assert.is(bench.published('current')?.version, 2)
  await bench.end()
})

test('results of the program before are not those of the new one', async () => {
  bench = await Bench.make({ ...guests, endless: () => new Promise(() => undefined) })
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.stage('endless')
  await until(() => bench.status.state === 'running')
  // What a kill would leave now.
  const left = path.join(bench.root, 'left')
  await fs.cp(bench.state, left, { recursive: true })
  const next = await Bench.open(bench.root, guests, { stateDirectory: left })
  assert.is(next.published('current'), undefined)
  assert.is(await next.read('last'), '1')
  assert.is(next.status.state, 'idle')
  await next.compute.close()
  await bench.end()
})

test('a set that the database does not know of yet keeps its number', async () => {
  bench = await Bench.make(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.compute.close()
  const database = new DatabaseSync(path.join(bench.state, 'programs.db'))
  database.exec('DELETE FROM versions')
  database.close()
  await bench.restart()
  await bench.write('a', '2')
  assert.is(await bench.look(), '2')
  assert.is(bench.published('current')?.version, 2)
  await bench.end()
})

/** As the store looks after a loss of power: another boot, and whatever `damage` did. */
async function afterPowerLoss(damage: (folder: string) => void): Promise<void> {
  bench = await Bench.make(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.write('a', '2')
  await bench.look()
  await bench.compute.close()
  const store = path.join(bench.state, 'results')
  const [directory = ''] = readdirSync(store).filter((name) => name !== '.incoming')
  for (const version of ['1', '2']) {
    const manifest = path.join(store, directory, version, '.manifest.json')
    const other = readFileSync(manifest, 'utf8').replace(/"bootId":"[^"]*"/, '"bootId":"before"')
    writeFileSync(manifest, other)
  }
  damage(path.join(store, directory, '2'))
  await bench.restart()
}

test('after another boot, whole sets are served', async () => {
  await afterPowerLoss(() => undefined)
  assert.is(await bench.look(), '2')
  assert.is(bench.sandbox.runs, 2)
  await bench.end()
})

test('after another boot, damaged sets are not: the one before is the last', async () => {
  for (const damage of [
    (folder: string) => writeFileSync(path.join(folder, 'result'), ''),
    (folder: string) => writeFileSync(path.join(folder, 'result'), '3'),
    (folder: string) => writeFileSync(path.join(folder, '.manifest.json'), ''),
  ]) {
    await afterPowerLoss(damage)
    assert.is(await bench.read('last'), '1')
    assert.is(await bench.look(), '2')
    assert.is(bench.sandbox.runs, 3)
    assert.is(bench.published('current')?.version, 3)
    await bench.end()
  }
})

test('results of programs that nobody knows are removed', async () => {
  bench = await Bench.make(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await bench.compute.close()
  for (const suffix of ['', '-wal', '-shm'])
    await fs.rm(path.join(bench.state, `programs.db${suffix}`), { force: true })
  await bench.restart()
  assert.equal(readdirSync(path.join(bench.state, 'results')), ['.incoming'])
  await bench.end()
})

const STAGES = ['the run', 'mkdir', 'first result', 'second result', 'rename', 'manifest']

for (const [index, stage] of STAGES.entries())
  test(`killed in ${stage}: the set before is whole, and the new one comes with a look`, async () => {
    const root = await fs.mkdtemp(path.join(os.tmpdir(), 'insitu-killed-'))
    const script = fileURLToPath(new URL('killed-child.ts', import.meta.url))
    const child = spawn(process.execPath, [script, root, String(index)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      let said = ''
      child.stdout.on('data', (data: Buffer) => (said += data.toString()))
      await until(() => said.includes('held\n') || child.exitCode !== null)
      // The manifest is written when the look is over.
      assert.is(said.replace('done\n', ''), 'held\n')
    } finally {
      const gone = new Promise((resolve) => child.on('exit', resolve))
      child.kill('SIGKILL')
      await gone
    }
    bench = await Bench.open(root, guests)
    assert.is(await bench.read('last'), 'one')
    assert.is(bench.published('current')?.version, 1)
    assert.is(await bench.look(), 'second')
    await bench.end()
  })

test('ten thousand programs start without being read', async () => {
  bench = await Bench.make(guests)
  await bench.compute.close()
  const database = new Database(path.join(bench.state, 'programs.db'), () => undefined)
  const source = Buffer.alloc(1_000, 'x')
  for (let n = 0; n < 10_000; n++)
    database.attach(
      {
        key: `0:${n}:0`,
        path: `d${n}`,
        hash: 'h',
        sizeBytes: source.length,
        principal: ROOT,
        attachedAtMs: 1,
        broken: undefined,
        missingSinceMs: 1,
      },
      source,
    )
  database.close()
  await bench.restart()
  assert.is(bench.fileServer.programs.size, 10_000)
  await bench.end()
})

test.run()
