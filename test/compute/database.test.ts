import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { onSmallDisk } from '../support/small-disk.ts'
import { Database, type ProgramRecord, type RunRecord } from '../../src/compute/database.ts'

const test = suite('compute: state database')

const PROGRAM: ProgramRecord = {
  key: 'k',
  path: 'a/b',
  hash: 'h',
  sizeBytes: 3,
  principal: { uid: 4_294_967_294, gid: 2, groups: [7, 8] },
  attachedAtMs: 1_700_000_000_000,
  broken: undefined,
  missingSinceMs: undefined,
}

const RUN: RunRecord = {
  state: 'ok',
  startedAtMs: 1,
  endedAtMs: 2,
  usage: { wallMs: 1, cpuMs: 1, peakMemoryBytes: 1 },
  inputs: 1,
  results: [{ name: 'x', sizeBytes: 1 }],
  failure: undefined,
}

async function inScratch(
  work: (open: () => Database, file: string) => void | Promise<void>,
): Promise<void> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'insitu-database-'))
  const file = path.join(folder, 'programs.db')
  const open = (): Database =>
    new Database(file, (error) => {
      throw error
    })
  try {
    await work(open, file)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

test('programs, versions and runs come back', () =>
  inScratch((open) => {
    const first = open()
    first.attach(PROGRAM, Buffer.from('abc'))
    first.saveRun('k', 5, RUN, Buffer.from('log'))
    assert.equal(first.run('k'), { ...RUN })
    assert.is(first.version('k'), 5)
    first.close()
    const second = open()
    assert.equal(second.programs(), [PROGRAM])
    assert.is(Buffer.from(second.source('k') ?? []).toString(), 'abc')
    assert.is(second.version('k'), 5)
    assert.is(second.run('k')?.state, 'ok')
    assert.is(Buffer.from(second.log('k')).toString(), 'log')
    assert.equal([...second.states()], [['k', 'ok']])
    second.close()
  }))

test('another program in the same place: no old run, the versions go on', () =>
  inScratch((open) => {
    const database = open()
    database.attach(PROGRAM, Buffer.from('abc'))
    database.saveRun('k', 5, RUN, Buffer.from('log'))
    const error = { name: 'E', message: 'm', stack: '', line: 1, column: 2 }
    database.attach({ ...PROGRAM, broken: error }, Buffer.from('abcd'))
    assert.is(database.run('k'), undefined)
    assert.is(database.version('k'), 5)
    assert.equal(database.programs()[0]?.broken, error)
    database.saveRun('k', 5, RUN, Buffer.from('log'))
    database.flush()
    database.attach(PROGRAM, Buffer.from('abc'))
    assert.is(database.run('k'), undefined)
    assert.is(database.log('k').length, 0)
    assert.is(database.version('k'), 5)
    database.saveRun('k', 6, RUN, Buffer.from(''))
    database.detach('k')
    assert.equal(database.programs(), [])
    assert.is(database.run('k'), undefined)
    assert.is(database.version('k'), 6)
    database.dropVersions(Date.now() + 1)
    assert.is(database.version('k'), 0)
    database.close()
  }))

test('a directory that is gone is marked once, and found again', () =>
  inScratch((open) => {
    const database = open()
    database.attach(PROGRAM, Buffer.from('abc'))
    database.located('k', undefined, 10)
    database.located('k', undefined, 20)
    assert.is(database.programs()[0]?.missingSinceMs, 10)
    assert.is(database.programs()[0]?.path, 'a/b')
    database.located('k', 'c', 30)
    assert.is(database.programs()[0]?.missingSinceMs, undefined)
    assert.is(database.programs()[0]?.path, 'c')
    database.close()
  }))

test('what is in use can be backed up, and goes on meanwhile', () =>
  inScratch(async (open, file) => {
    const database = open()
    database.attach(PROGRAM, Buffer.from('abc'))
    const reader = new DatabaseSync(file, { readOnly: true })
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM programs').get()
    database.attach({ ...PROGRAM, key: 'other' }, Buffer.from('def'))
    reader.exec('COMMIT')
    await backup(reader, `${file}.backup`)
    reader.close()
    database.close()
    const copy = new Database(`${file}.backup`, assert.unreachable)
    assert.is(Buffer.from(copy.source('other') ?? []).toString(), 'def')
    assert.is(copy.programs().length, 2)
    copy.close()
  }))

test('where memory cannot be shared it is used alone', () =>
  inScratch((_, file) => {
    const [folder, without] = [`${file}.d`, `${file}.mount`]
    for (const each of [folder, without]) mkdirSync(each)
    const mounted = spawnSync('bindfs', ['-o', 'direct_io', folder, without])
    if (mounted.status !== 0) return console.log('SKIP a state without shared memory: no bindfs')
    try {
      for (const expected of [1, 2]) {
        const database = new Database(`${without}/programs.db`, assert.unreachable)
        database.attach({ ...PROGRAM, key: String(expected) }, Buffer.from('abc'))
        assert.is(database.programs().length, expected)
        database.close()
      }
    } finally {
      spawnSync('umount', ['-l', without])
    }
  }))

test('state of a newer insitu is refused, other files are named', () =>
  inScratch(async (open, file) => {
    open().close()
    const raw = new DatabaseSync(file)
    raw.exec('INSERT INTO migrations VALUES (99, 0)')
    raw.close()
    assert.throws(open, /written by a newer insitu \(schema 99/)
    await fs.writeFile(file, 'this is no database, however long it may be'.repeat(100))
    assert.throws(open, (error: Error) => error.message.includes(file))
  }))

test('a full disk: attaching is refused whole, a run record waits for space', () =>
  onSmallDisk(1_000_000, async (folder) => {
    const errors: Error[] = []
    const file = path.join(folder, 'programs.db')
    const database = new Database(file, (error) => errors.push(error))
    database.attach(PROGRAM, Buffer.from('abc'))
    const ballast = path.join(folder, 'ballast')
    await fs.writeFile(ballast, Buffer.alloc(700_000))
    const large = Buffer.alloc(500_000)
    assert.throws(
      () => database.attach({ ...PROGRAM, hash: 'other' }, large),
      (error: NodeJS.ErrnoException) => error.code === 'ENOSPC',
    )
    assert.equal(database.programs(), [PROGRAM])
    assert.is(Buffer.from(database.source('k') ?? []).toString(), 'abc')
    database.saveRun('k', 1, RUN, large)
    database.flush()
    assert.is(errors.length, 1)
    assert.is(database.run('k')?.state, 'ok')
    await fs.rm(ballast)
    database.close()
    const again = new Database(file, (error) => errors.push(error))
    assert.is(again.run('k')?.state, 'ok')
    assert.is(again.version('k'), 1)
    again.close()
  }))

test.run()
