/**
 * The state database is locked by somebody, has no room, or is damaged, while tenants ask: nothing new
 * is given, and the answer says so; what is mounted stays; once the database is well, so is everything.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { openBroker } from '../../src/broker/index.ts'
import { policyNamed, silent } from '../support/broker-world.ts'
import { Endpoints } from '../support/endpoints.ts'
import { onSmallDisk } from '../support/small-disk.ts'
import { ask, type Answer } from '../support/unix-http.ts'

const test = suite('the state database fails')

const state = (endpoints: Endpoints): string => path.join(endpoints.scratch, 'state')
const file = (endpoints: Endpoints): string => path.join(state(endpoints), 'broker.db')

function mount(endpoints: Endpoints, at: string): Promise<Answer> {
  return ask(endpoints.socket('acme'), '/mount', { body: { volume: 'data', at } })
}

async function granted(endpoints: Endpoints): Promise<string[]> {
  const { json } = await ask(endpoints.socket('acme'), '/grants')
  return (json['grants'] as { at: string }[]).map(({ at }) => at)
}

/** A refusal that says what it is. */
function refused(answer: Answer): void {
  assert.is(answer.status, 503, answer.text)
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json/)
  assert.is(answer.json['code'], 'state-unavailable')
  assert.match(String(answer.json['detail']), /what is mounted is served/)
  assert.not.match(answer.text, /broker\.db|\/state/, 'and nothing of the host')
}

/** With the grant `kept` and a database that cannot be written. */
async function holdsOut(endpoints: Endpoints): Promise<void> {
  refused(await mount(endpoints, 'new'))
  refused(await ask(endpoints.admin, '/readyz'))
  const policy = {
    name: 'more',
    tenants: ['*'],
    volumes: { names: ['*'] },
    modes: ['ro'],
    revocable: true,
  }
  refused(await ask(endpoints.admin, '/policies', { method: 'PUT', body: policy }))
  assert.is((await ask(endpoints.admin, '/livez')).status, 200)
  assert.equal(await granted(endpoints), ['kept'])
  assert.equal(endpoints.mount('acme').paths, ['kept'])
}

async function isWell(endpoints: Endpoints): Promise<void> {
  assert.is((await ask(endpoints.admin, '/readyz')).status, 200)
  const answer = await mount(endpoints, 'new')
  assert.is(answer.status, 201, answer.text)
  assert.equal((await granted(endpoints)).toSorted(), ['kept', 'new'])
  assert.equal(endpoints.mount('acme').paths, ['kept', 'new'])
  const audit = await ask(endpoints.admin, '/audit?action=mount&outcome=done')
  assert.is((audit.json['entries'] as unknown[]).length, 2)
}

const LOCKER = `
import { DatabaseSync } from 'node:sqlite'
const database = new DatabaseSync(process.argv[1])
database.exec('BEGIN EXCLUSIVE')
process.stdout.write('locked')
process.stdin.once('data', () => process.exit(0))`

/** Another process holds it. */
async function lock(database: string): Promise<ChildProcess> {
  const args = ['--input-type=module', '--eval', LOCKER, database]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return child
}

async function unlock(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.stdin?.write('\n')
  await ended
}

test('locked by another process', async () => {
  await using endpoints = await Endpoints.create()
  assert.is((await mount(endpoints, 'kept')).status, 201)
  const locker = await lock(file(endpoints))
  await holdsOut(endpoints)
  // One that waited in vain is not followed by others that do: they would hold up everybody.
  const began = performance.now()
  for (const answer of await Promise.all(['1', '2', '3', '4'].map((at) => mount(endpoints, at))))
    refused(answer)
  assert.ok(performance.now() - began < 4 * 250, 'each does not wait for itself')
  await unlock(locker)
  await isWell(endpoints)
})

test('what is taken away goes also while nothing can be written down', async () => {
  await using endpoints = await Endpoints.create()
  for (const at of ['kept', 'going']) assert.is((await mount(endpoints, at)).status, 201)
  const locker = await lock(file(endpoints))
  const body = { at: 'going', force: true }
  refused(await ask(endpoints.socket('acme'), '/unmount', { body }))
  assert.equal(endpoints.mount('acme').paths, ['kept'])
  await unlock(locker)
  assert.is((await ask(endpoints.socket('acme'), '/unmount', { body })).status, 200)
  assert.equal(await granted(endpoints), ['kept'])
})

test('no space is left', async () => {
  await onSmallDisk(512 * 1024, async (folder) => {
    const endpoints = await Endpoints.create()
    try {
      await endpoints.stop()
      spawnSync('mount', ['--bind', folder, state(endpoints)])
      await endpoints.start([policyNamed('all')])
      assert.is((await mount(endpoints, 'kept')).status, 201)
      const filler = path.join(folder, 'filler')
      spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'])
      // What the log of the database has room for goes on a little.
      let last: Answer | undefined
      for (let n = 0; n < 200 && last?.status !== 503; n += 1) {
        last = await mount(endpoints, `try${n}`)
        if (last.status === 201)
          await ask(endpoints.socket('acme'), '/unmount', { body: { at: `try${n}` } })
      }
      await holdsOut(endpoints)
      rmSync(filler)
      assert.is((await ask(endpoints.admin, '/readyz')).status, 200)
      assert.is((await mount(endpoints, 'new')).status, 201)
      assert.equal((await granted(endpoints)).toSorted(), ['kept', 'new'])
    } finally {
      await endpoints.stop()
      spawnSync('umount', ['-l', state(endpoints)])
      await endpoints[Symbol.asyncDispose]()
    }
  })
})

/** All that the log holds goes into the file, as another's backup would have it. */
function checkpoint(database: string): void {
  const other = new DatabaseSync(database)
  other.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  other.close()
}

test('damaged while it is served; restored before the next start', async () => {
  await using endpoints = await Endpoints.create()
  assert.is((await mount(endpoints, 'kept')).status, 201)
  checkpoint(file(endpoints))
  const good = readFileSync(file(endpoints))
  const bad = Buffer.from(good)
  bad.fill(0xa5)
  writeFileSync(file(endpoints), bad)
  await holdsOut(endpoints)
  await endpoints.stop()
  for (const rest of ['-wal', '-shm']) rmSync(`${file(endpoints)}${rest}`, { force: true })
  writeFileSync(file(endpoints), good)
  await endpoints.start([policyNamed('all')])
  await isWell(endpoints)
})

test('damaged at the start: refused, and not written over', async () => {
  await using endpoints = await Endpoints.create()
  assert.is((await mount(endpoints, 'kept')).status, 201)
  await endpoints.stop()
  const good = readFileSync(file(endpoints))
  const bad = Buffer.from(good)
  bad.fill(0xa5, 0, 100)
  writeFileSync(file(endpoints), bad)
  const opened = openBroker({
    stateDirectory: state(endpoints),
    runtimeDirectory: path.join(endpoints.scratch, 'run'),
    log: silent,
  })
  const message = await opened.then(
    () => 'opened',
    (error: Error) => error.message,
  )
  assert.match(message, /is no database; restore it from a backup, or move it away/)
  assert.equal(readFileSync(file(endpoints)), bad)
  writeFileSync(file(endpoints), good)
  await endpoints.start([policyNamed('all')])
  assert.equal(await granted(endpoints), ['kept'])
})

test.run()
