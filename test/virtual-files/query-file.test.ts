import { constants } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { guestRunError } from '../../src/compute/run-error.ts'
import { VfsError } from '../../src/errors.ts'
import { VirtualShell, codeOf, settle } from './virtual-shell.ts'

const test = suite('query file')

function bytes(text: string): { bytes: Uint8Array } {
  return { bytes: Buffer.from(text) }
}

test('writes collect, a read runs them and gets the answer, then its end', async () => {
  const shell = new VirtualShell()
  const handle = await shell.openQuery()
  await shell.write(handle, 'one ')
  await shell.flush(handle)
  await shell.write(handle, 'two')
  assert.is(shell.compute.queries.length, 0)
  const answer = shell.read(handle)
  await settle()
  assert.is(shell.compute.queries[0]?.source, 'one two')
  shell.compute.queries[0]?.resolve(bytes('answer'))
  assert.is(await answer, 'answer')
  assert.is(await shell.read(handle), '')
  assert.is(await shell.read(handle), '')
  assert.is(shell.compute.queries.length, 1)
})

test('a write after the answer asks anew', async () => {
  const shell = new VirtualShell()
  const handle = await shell.openQuery()
  for (const text of ['first', 'second']) {
    await shell.write(handle, text)
    const answer = shell.read(handle)
    await settle()
    const query = shell.compute.queries.at(-1)
    assert.is(query?.source, text)
    query?.resolve(bytes(text.toUpperCase()))
    // The end of the first answer is not even read.
    assert.is(await answer, text.toUpperCase())
  }
})

test('nothing asked: an end of file at once', async () => {
  const shell = new VirtualShell()
  assert.is(await shell.read(await shell.openQuery()), '')
})

test('a read that does not block says so, and poll tells when to come again', async () => {
  const shell = new VirtualShell()
  const handle = await shell.openQuery()
  await shell.write(handle, 'a')
  assert.equal(await shell.ask({ op: 'poll', handle, forReading: false }), {
    readable: false,
    writable: true,
  })
  assert.is(shell.compute.queries.length, 0)
  assert.is(await codeOf(shell.read(handle, { nonBlocking: true })), 'EAGAIN')
  assert.is((await shell.ask({ op: 'poll', handle, forReading: true })).readable, false)
  assert.equal(shell.woken, [])
  shell.compute.queries[0]?.resolve(bytes('x'))
  await settle()
  assert.equal(shell.woken, [handle])
  assert.is((await shell.ask({ op: 'poll', handle, forReading: true })).readable, true)
  assert.is(await shell.read(handle, { nonBlocking: true }), 'x')
  assert.is((await shell.ask({ op: 'poll', handle, forReading: true })).readable, true)
  assert.is(await shell.read(handle, { nonBlocking: true }), '')
  assert.is((await shell.ask({ op: 'poll', handle, forReading: true })).readable, false)
})

test('poll for reading runs it', async () => {
  const shell = new VirtualShell()
  const handle = await shell.openQuery()
  await shell.write(handle, 'a')
  await shell.ask({ op: 'poll', handle, forReading: true })
  assert.is(shell.compute.queries.length, 1)
})

const SYNTAX = { name: 'SyntaxError', message: 'no', stack: '', line: 3, column: 5 }

for (const [name, thrown, seen, message] of [
  [
    'does not compile',
    guestRunError(SYNTAX, 'compile'),
    'ENOEXEC',
    'SyntaxError: no (line 3, column 5)\n',
  ],
  ['failed', guestRunError(SYNTAX, 'run'), 'EIO', 'SyntaxError: no (line 3, column 5)\n'],
  ['was refused', new VfsError('EFBIG', 'too large'), 'EFBIG', 'too large\n'],
  // On this descriptor EAGAIN would say "not yet".
  ['came at a bad time', new VfsError('EAGAIN', 'later'), 'EBUSY', 'later\n'],
] as const) {
  test(`a query that ${name} fails one read with ${seen}; the next ones tell why`, async () => {
    const shell = new VirtualShell()
    const handle = await shell.openQuery()
    await shell.write(handle, 'a')
    const answer = codeOf(shell.read(handle))
    await settle()
    shell.compute.queries[0]?.reject(thrown)
    assert.is(await answer, seen)
    assert.is(await shell.read(handle), message)
    assert.is(await shell.read(handle), '')
  })
}

test('an interrupted reader leaves, and the query goes on', async () => {
  const shell = new VirtualShell()
  const handle = await shell.openQuery()
  await shell.write(handle, 'a')
  const abort = new AbortController()
  const read = { op: 'read', handle, offset: 0, sizeBytes: 10, nonBlocking: false } as const
  const answer = codeOf(shell.ask(read, abort.signal))
  await settle()
  abort.abort()
  assert.is(await answer, 'EINTR')
  assert.is(shell.compute.queries[0]?.signal.aborted, false)
  shell.compute.queries[0]?.resolve(bytes('x'))
  assert.is(await shell.read(handle), 'x')
})

test('the last close and a new question cancel it', async () => {
  const shell = new VirtualShell()
  const handle = await shell.openQuery()
  await shell.write(handle, 'a')
  await codeOf(shell.read(handle, { nonBlocking: true }))
  await shell.write(handle, 'b')
  const [first] = shell.compute.queries
  assert.is(first?.signal.aborted, true)
  const answer = shell.read(handle)
  await settle()
  first?.resolve(bytes('stale'))
  await settle()
  shell.compute.queries[1]?.resolve(bytes('fresh'))
  assert.is(await answer, 'fresh')
  await shell.write(handle, 'c')
  await codeOf(shell.read(handle, { nonBlocking: true }))
  await shell.close(handle)
  assert.is(shell.compute.queries[2]?.signal.aborted, true)
})

test('two users do not meet', async () => {
  const shell = new VirtualShell()
  const [a, b] = [await shell.openQuery(), await shell.openQuery()]
  await shell.write(a, 'a')
  await shell.write(b, 'b')
  const answers = [shell.read(a), shell.read(b)]
  await settle()
  shell.compute.queries[1]?.resolve(bytes('B'))
  shell.compute.queries[0]?.resolve(bytes('A'))
  assert.equal(await Promise.all(answers), ['A', 'B'])
})

test('a question over the bound is not run in part', async () => {
  const shell = new VirtualShell()
  const handle = await shell.openQuery()
  await shell.write(handle, 'x'.repeat(90))
  assert.is(await codeOf(shell.write(handle, 'x'.repeat(20))), 'EFBIG')
  assert.is(await codeOf(shell.write(handle, 'y')), 'EFBIG')
  assert.is(await codeOf(shell.read(handle)), 'EFBIG')
  assert.is(shell.compute.queries.length, 0)
  await shell.write(handle, 'a')
  assert.is((await shell.ask({ op: 'poll', handle, forReading: true })).readable, false)
  assert.is(shell.compute.queries[0]?.source, 'a')
})

test('an answer over what may be held', async () => {
  const shell = new VirtualShell({ heldBytes: 5_000 })
  const handle = await shell.openQuery()
  await shell.write(handle, 'a')
  const answer = codeOf(shell.read(handle))
  await settle()
  shell.compute.queries[0]?.resolve(bytes('x'.repeat(6_000)))
  assert.is(await answer, 'ENOBUFS')
})

test('it is a stream that is open both ways', async () => {
  const shell = new VirtualShell()
  assert.is(await codeOf(shell.openQuery(constants.O_RDONLY)), 'EINVAL')
  assert.is(await codeOf(shell.openQuery(constants.O_WRONLY)), 'EINVAL')
})

test.run()
