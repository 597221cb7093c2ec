/** The broker's database: versions, what it holds, and what it says when it cannot. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Connection, StoreError } from '../../src/broker/store/connection.ts'
import { Store } from '../../src/broker/store/index.ts'
import { MIGRATIONS } from '../../src/broker/store/migrations.ts'
import type { Grant } from '../../src/broker/types.ts'
import type { AuditEntry } from '../../src/broker/store/audit.ts'

const test = suite('store')
let folder = ''
let file = ''

test.before.each(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'insitu-store-'))
  file = path.join(folder, 'broker.db')
})
test.after.each(() => rmSync(folder, { recursive: true, force: true }))

const grant: Grant = {
  id: 'one',
  tenant: 'acme',
  volume: 'data',
  policy: 'rule',
  at: 'a/b',
  mode: 'rw',
  subpath: '',
  compute: true,
  revocable: false,
  quotaBytes: 2 ** 40,
  createdAtMs: 5,
  expiresAtMs: undefined,
}
const entry: AuditEntry = {
  action: 'mount',
  outcome: 'done',
  tenant: 'acme',
  uid: 1,
  pid: 2,
  container: undefined,
  subject: 'one',
  reason: undefined,
}

function fault(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof StoreError) return error.fault
    throw error
  }
  return 'none'
}

test('gives back what was written, also to the next process', () => {
  const store = new Store(file)
  store.grants.insert({ grant, state: 'preparing', requestKey: undefined })
  store.grants.setState('one', 'active')
  const other = { ...grant, id: 'two', at: 'c', compute: false, quotaBytes: undefined }
  store.grants.insert({ grant: other, state: 'revoking', requestKey: 'key' })
  store.catalog.setDraining('data', true, 1)
  store.close()
  const again = new Store(file)
  assert.equal(again.grants.all(), [
    { grant, state: 'active', requestKey: undefined },
    { grant: other, state: 'revoking', requestKey: 'key' },
  ])
  assert.equal([...again.catalog.drains()], ['data'])
  again.grants.remove('one')
  again.catalog.setDraining('data', false, 1)
  assert.is(again.grants.all().length, 1)
  assert.is(again.catalog.drains().size, 0)
  again.close()
})

test('one path of a tenant is granted once', () => {
  const store = new Store(file)
  store.grants.insert({ grant, state: 'active', requestKey: undefined })
  const twice = { ...grant, id: 'two' }
  assert.is(
    fault(() => store.grants.insert({ grant: twice, state: 'active', requestKey: undefined })),
    'io',
  )
  store.close()
})

test('an older file is brought up, step by step; a failed step leaves it as it was', () => {
  new Connection(file, MIGRATIONS).close()
  const more = [...MIGRATIONS, 'CREATE TABLE more (x) STRICT; nonsense']
  assert.is(
    fault(() => new Connection(file, more)),
    'io',
  )
  const plain = new DatabaseSync(file)
  const names = plain.prepare("SELECT name FROM sqlite_schema WHERE name = 'more'").all()
  assert.equal(names, [])
  plain.close()
  new Connection(file, [...MIGRATIONS, 'CREATE TABLE more (x INTEGER) STRICT']).close()
  // Now it is newer than what the store knows.
  assert.is(
    fault(() => new Store(file)),
    'newer',
  )
})

test('a locked file is refused, and used again once it is free', () => {
  const store = new Store(file)
  const other = new DatabaseSync(file)
  other.exec('BEGIN IMMEDIATE')
  assert.is(
    fault(() => store.audit.append(entry, 1)),
    'busy',
  )
  assert.equal(store.grants.all(), []) // reading goes on
  other.exec('ROLLBACK')
  store.audit.append(entry, 1)
  other.close()
  store.close()
})

test('a full one is refused, and what is in it stays', () => {
  const store = new Store(file)
  store.grants.insert({ grant, state: 'active', requestKey: undefined })
  store.close()
  // As many pages as it has, and no more.
  const db = new Connection(file, MIGRATIONS)
  db.get('PRAGMA max_page_count = 1')
  assert.is(
    fault(() => {
      for (let i = 0; i < 10_000; i += 1)
        db.run("INSERT INTO tenants VALUES (?, '{}')", `tenant-${i}-${'x'.repeat(1_000)}`)
    }),
    'full',
  )
  assert.is(Number(db.get('SELECT count(*) AS n FROM grants')?.['n']), 1)
  db.close()
})

test('a damaged one is refused, and not written over', () => {
  writeFileSync(file, 'this is a text and no database, '.repeat(200))
  const before = readFileSync(file)
  assert.is(
    fault(() => new Store(file)),
    'corrupt',
  )
  assert.ok(readFileSync(file).equals(before))
})

test('damage in the middle is seen at the start', () => {
  const store = new Store(file)
  for (let i = 0; i < 2_000; i += 1)
    store.grants.insert({
      grant: { ...grant, id: `id-${i}`, at: `at-${i}` },
      state: 'active',
      requestKey: undefined,
    })
  store.close()
  const bytes = readFileSync(file)
  bytes.fill(0xff, 40_000, Math.min(120_000, statSync(file).size))
  writeFileSync(file, bytes)
  assert.is(
    fault(() => new Store(file)),
    'corrupt',
  )
})

test('the audit is only added to', () => {
  const store = new Store(file)
  for (let i = 0; i < 5; i += 1)
    store.audit.append({ ...entry, tenant: i % 2 === 0 ? 'acme' : 'bolt' }, i)
  const page = store.audit.list({ limit: 2 })
  assert.equal(
    page.map(({ atMs }) => atMs),
    [4, 3],
  )
  const older = store.audit.list({ limit: 10, before: page[1]?.id })
  assert.equal(
    older.map(({ atMs }) => atMs),
    [2, 1, 0],
  )
  assert.is(store.audit.list({ limit: 10, tenant: 'bolt' }).length, 2)
  const plain = new DatabaseSync(file)
  assert.throws(() => plain.exec('UPDATE audit SET uid = 0'), 'append-only')
  assert.throws(() => plain.exec('DELETE FROM audit'), 'append-only')
  plain.exec("UPDATE sqlite_sequence SET seq = 1000003 WHERE name = 'audit'")
  plain.exec('DELETE FROM audit WHERE id <= 3') // beyond the bound
  assert.throws(() => plain.exec('DELETE FROM audit'), 'append-only')
  plain.close()
  store.close()
})

test('a tenant that fills the audit pushes out its own entries, and those of nobody else', () => {
  const store = new Store(file)
  store.audit.append({ ...entry, tenant: 'bolt' }, 1)
  store.audit.append({ ...entry, tenant: 'acme', reason: 'the first' }, 2)
  const plain = new DatabaseSync(file)
  const add = (entries: number): void =>
    plain.exec(`INSERT INTO audit (at_ms, action, outcome, tenant)
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${entries})
      SELECT 3, 'mount', 'refused', 'acme' FROM n`)
  const floor = (id: number): void =>
    plain.exec(`INSERT OR REPLACE INTO audit_floors VALUES ('acme', ${id})`)
  assert.throws(() => floor(2), 'append-only')
  add(260_000)
  plain.close()
  store.close()
  const again = new Store(file)
  again.audit.append({ ...entry, tenant: 'acme', reason: 'the last' }, 4)
  const count = new DatabaseSync(file)
  assert.equal(
    { ...count.prepare("SELECT count(*) AS n FROM audit WHERE tenant = 'acme'").get() },
    { n: 250_000 },
  )
  assert.is(again.audit.list({ limit: 1 })[0]?.reason, 'the last')
  assert.is(again.audit.list({ limit: 10, tenant: 'bolt' }).length, 1)
  // What is left may not go.
  assert.throws(() => count.exec("DELETE FROM audit WHERE tenant = 'acme'"), 'append-only')
  assert.throws(() => count.exec('UPDATE audit_floors SET id = 1000000'), 'append-only')
  count.close()
  again.close()
})

test('idempotency keys are bounded, and end', () => {
  const store = new Store(file)
  const answer = { fingerprint: 'f', status: 201, body: '{}' }
  for (let i = 0; i < 1_010; i += 1) store.keys.save('acme', `key-${i}`, answer, i)
  store.keys.save('bolt', 'key-0', answer, 0)
  assert.is(store.keys.find('acme', 'key-9', 1_010), undefined)
  assert.equal(store.keys.find('acme', 'key-10', 1_010), answer)
  assert.equal(store.keys.find('bolt', 'key-0', 1_010), answer)
  assert.is(store.keys.find('acme', 'key-10', 1_010 + 24 * 3_600_000), undefined)
  store.keys.forget('acme')
  assert.is(store.keys.find('acme', 'key-10', 1_010), undefined)
  store.close()
})

test.run()
