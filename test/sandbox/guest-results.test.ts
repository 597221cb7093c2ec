/** `emit`: what may be emitted, under which names, and how it is written. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { runGuest } from '../support/guest.ts'

const test = suite('guest: results')

test('text and bytes as they are, iterables piece by piece, all else as JSON', async () => {
  const { error, results, bytes } = await runGuest(`
    emit('text', 'é\\ud800')
    emit('bytes', Uint8Array.of(1, 2, 3).subarray(1))
    emit('words', new Uint16Array([1, 256]))
    emit('view', new DataView(Uint8Array.of(7, 8, 9).buffer, 1, 1))
    emit('buffer', Uint8Array.of(5).buffer)
    emit('object', { a: [1, { b: null }] })
    emit('array', ['x', 'y'])
    emit('null', null)
    emit('items', (function* () { yield 'a\\n'; yield Uint8Array.of(66, 10); yield { c: 1 }; yield 5 })())
    emit('set', new Set(['p', 'q']))
    emit('later', Promise.resolve('done'))
    emit('empty', '')
    export default 'returned'`)
  assert.is(error, undefined)
  assert.equal(results, {
    text: 'é\ufffd',
    bytes: '\x02\x03',
    words: '\x01\x00\x00\x01',
    view: '\x08',
    buffer: '\x05',
    object: '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ]\n}\n',
    array: '[\n  "x",\n  "y"\n]\n',
    null: 'null\n',
    items: 'a\nB\n{"c":1}\n5\n',
    set: 'pq',
    empty: '',
    later: 'done',
    result: 'returned',
  })
  assert.equal([...(bytes.get('buffer') ?? [])], [5])
})

test('names', async () => {
  const bad: [name: string, message: RegExp][] = [
    ['""', /the name is empty/],
    ['".hidden"', /starts with a dot/],
    ['"a/b"', /no '\/' and no NUL/],
    ['"a\\0b"', /no '\/' and no NUL/],
    ['"é".repeat(128)', /longer than 255 bytes/],
    ['5', /must be a string/],
    ['{ toString() { return "x" } }', /must be a string/],
    ['"twice"', /there is a result 'twice' already/],
  ]
  for (const [name, message] of bad) {
    const { error } = await runGuest(`emit('twice', ''); emit(${name}, 'x')`)
    assert.match(error?.message ?? '', message)
  }
  const { results } = await runGuest(`emit('é'.repeat(127) + '~', 'x'); emit(' odd \\n name', 'y')`)
  assert.equal(Object.values(results), ['x', 'y'])
})

test('what has no bytes is refused', async () => {
  for (const value of [
    'undefined',
    '() => 1',
    'Symbol()',
    '1n',
    '(() => { const a = {}; a.a = a; return a })()',
  ]) {
    const { error } = await runGuest(`emit('x', ${value})`)
    assert.is(error?.name, 'TypeError', value)
  }
})

test('asynchronous results are whole, though many come at once', async () => {
  const { error, results } = await runGuest(`
    const parts = async function* (name, count) {
      for (let i = 0; i < count; i++) { await null; yield (name + i + ' ').repeat(40000) }
      emit(name + '-end', name)
    }
    emit('a', parts('a', 20))
    emit('b', parts('b', 20))
    emit('sync', (function* () { yield '1'; emit('nested', 'n'); yield '2' })())`)
  assert.is(error, undefined)
  for (const name of ['a', 'b']) {
    let expected = ''
    for (let i = 0; i < 20; i++) expected += `${name}${i} `.repeat(40_000)
    assert.is(results[name] === expected, true, name)
    assert.is(results[`${name}-end`], name)
  }
  assert.is(results['sync'], '12')
  assert.is(results['nested'], 'n')
})

test('an iterable is written while it is made, in bounded memory', async () => {
  const { error, bytes } = await runGuest(
    `emit('big', (function* () { for (let i = 0; i < 1.2e6; i++) yield 'x'.repeat(99) + '\\n' })())`,
    { limits: { memoryBytes: 32 * 1024 * 1024 } },
  )
  assert.is(error, undefined)
  assert.is(bytes.get('big')?.length, 120_000_000)
})

test('failures of iterables and promises are the errors of the run', async () => {
  const cases = [
    'emit("x", (function* () { yield 1; throw new Error("mine") })())',
    'emit("x", (async function* () { yield 1; throw new Error("mine") })())',
    'emit("x", Promise.reject(new Error("mine")))',
    'export default (async function* () { throw new Error("mine") })()',
  ]
  for (const source of cases) assert.is((await runGuest(source)).error?.message, 'mine', source)
  const stuck = await runGuest('emit("x", (async function* () { await new Promise(() => {}) })())')
  assert.match(stuck.error?.message ?? '', /never settles/)
})

test("the host's bounds reach the program as errors with a code", async () => {
  const source = `
    const codes = []
    try { emit('big', 'x'.repeat(2000)) } catch (e) { codes.push(e.code) }
    try { emit('b', '') ; emit('c', '') } catch (e) { codes.push(e.code) }
    console.log(codes.join())`
  const { log } = await runGuest(source, { host: { outputBytes: 1_000, resultFiles: 2 } })
  assert.is(log, 'EFBIG,EDQUOT\n')
})

test.run()
