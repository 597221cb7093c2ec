/** What counts as a program, what it gives, and how its errors read. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluateGuest, makeFiles, runGuest } from '../support/guest.ts'

const test = suite('guest: programs')

test('a script gives its last value, a module what its default export gives', async () => {
  assert.is(await evaluateGuest('const a = 20; a + 1'), 21)
  assert.is(await evaluateGuest('export default () => 22'), 22)
  assert.is(await evaluateGuest('export default 23'), 23)
  assert.is(await evaluateGuest('(dir) => dir.path + 24 - 0'), 24)
  assert.is(await evaluateGuest('const { x } = await { x: 25 }; export default x'), 25)
  assert.is(await evaluateGuest('await null; export default async () => 26'), 26)
  assert.is(await evaluateGuest('undefined'), undefined)
})

test('types are stripped, and only where there are any', async () => {
  assert.is(await evaluateGuest('const n: number = 1; export default (): number => n'), 1)
  assert.is(await evaluateGuest('let a = 1, b = 2, c = -1; a < b > (c)'), true)
  const { error } = await runGuest('enum Colour { Red }')
  assert.match(error?.message ?? '', /enum is not supported/)
})

test('what is no program is refused in plain words', async () => {
  const cases: [string | Uint8Array, RegExp][] = [
    ['', /is empty/],
    [Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1), /is binary/],
    [Uint8Array.of(0x22, 0xff, 0x22), /not valid UTF-8/],
    [`"${'x'.repeat(2_000_000)}"`, /over the limit of 1048576/],
    ['import fs from "node:fs"', /cannot import 'node:fs'/],
    ['import x from ".compute"; export default x', /no program is attached/],
    ['(', /./],
  ]
  for (const [source, message] of cases) {
    const { error, results } = await runGuest(source)
    assert.is(error?.name, 'SyntaxError')
    assert.match(error?.message ?? '', message)
    assert.equal(results, {})
  }
})

test('errors have the line and column of the program', async () => {
  const cases: [source: string, line: number, column: number][] = [
    ['1\n  let = = 3', 2, 9],
    ['let a: number = 1\nlet b: = 2', 2, 8],
    ['import "x"', 1, 8],
    ['let a: number = 1\n  null.x', 2, 8],
    ['\n\nfunction f() {\n  throw new Error("x")\n}\nf()', 4, 9],
    ['export default () => {\n  throw 7 }', 2, 3],
    ['export default async () => {\n  await null\n  null.x }', 3, 8],
    ['const f = () =>\n  f()\nf()', 2, 3],
  ]
  for (const [source, line, column] of cases) {
    const { error } = await runGuest(source)
    assert.equal([error?.line, error?.column], [line, column], source)
  }
})

test('a stack has the frames of the program only', async () => {
  const { error } = await runGuest(
    'function f() { null.x }\nexport default () => [1].map(() => f())',
  )
  assert.is(error?.name, 'TypeError')
  assert.match(error?.stack ?? '', /^TypeError: Cannot read.*\n {4}at f \(program:1:21\)\n/)
  assert.not.match(error?.stack ?? '', /insitu:|node_modules|\.ts/)
})

test('errors stay plain and bounded, whatever was thrown', async () => {
  const cases: [source: string, name: string, message: RegExp][] = [
    ['throw null', 'Error', /^threw null$/],
    ['throw Symbol("s")', 'Error', /^threw Symbol\(s\)$/],
    ['throw { name: 1, message: {} }', 'Error', /^\[object Object\]$/],
    ['throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } })', 'Error', /./],
    ['throw Object.create(null)', 'Error', /cannot be shown/],
    ['throw new Error("x".repeat(1e7))', 'Error', /^x{4000}…$/],
    ['Error.prepareStackTrace = () => { for (;;); }; throw new Error("quick")', 'Error', /^quick$/],
    [
      'const e = new Error("m"); Object.defineProperty(e, "stack", { get() { for (;;); } }); throw e',
      'Error',
      /^m$/,
    ],
  ]
  for (const [source, name, message] of cases) {
    const { error } = await runGuest(source)
    assert.is(error?.name, name, source)
    assert.match(error?.message ?? '', message)
    assert.ok((error?.stack.length ?? 0) < 10_000)
  }
})

test('promises: awaited, unhandled, never settled', async () => {
  assert.is(await evaluateGuest('export default async () => { await 1; return 2 }'), 2)
  const message = async (source: string): Promise<string | undefined> =>
    (await runGuest(source)).error?.message
  assert.match((await message('export default () => new Promise(() => {})')) ?? '', /never settles/)
  assert.match(
    (await message('await new Promise(() => {}); export default 1')) ?? '',
    /never settles/,
  )
  assert.is(await message('Promise.reject(new Error("lost")); 1'), 'lost')
  assert.is(
    await message('const p = Promise.reject(1); queueMicrotask(() => p.catch(() => {})); 1'),
    undefined,
  )
  assert.is(await message('queueMicrotask(() => { throw new Error("late") }); 1'), 'late')
  assert.match((await message('import("fs")')) ?? '', /import\(\) is not available/)
})

test('a query imports the attached program, and calls it', async () => {
  const query = 'import program from ".compute"; export default (dir) => program(dir, 4)'
  assert.is(await evaluateGuest(query, { library: 'export default (dir, n: number) => n * 2' }), 8)
  assert.is(await evaluateGuest(query, { library: '(dir, n) => n * 3' }), 12)
  const named = 'import { n } from ".compute"; export default n'
  assert.is(await evaluateGuest(named, { library: 'export const n = 5' }), 5)
  const { error } = await runGuest(query, { library: 'export default (' })
  assert.match(error?.message ?? '', /^the attached program: /)
})

test('limits end what does not end by itself', async () => {
  const endless = await runGuest('for (;;);', { limits: { wallMs: 200 } })
  assert.is(endless.error?.name, 'TimeLimitError')
  const microtasks = await runGuest('const f = () => { queueMicrotask(f) }; f()', {
    limits: { wallMs: 200 },
  })
  assert.is(microtasks.error?.name, 'TimeLimitError')
  const full = await runGuest('const a = []; for (;;) a.push(new Array(1e4).fill(0.5))')
  assert.is(full.error?.name, 'MemoryLimitError')
  assert.ok(full.poisoned)
})

test('deep nesting is an error, and stripping still works afterwards', async () => {
  const deep = await runGuest('('.repeat(5_000))
  assert.match(deep.error?.message ?? '', /nested more than 500 deep/)
  assert.is(deep.poisoned, false)
  const json = await runGuest('JSON.parse("[".repeat(1e6))')
  assert.is(json.error?.name === 'SyntaxError' || json.error?.name === 'RangeError', true)
  assert.is(await evaluateGuest('let n: number = 3; n'), 3)
})

test('a program that replaces the language fools only itself', async () => {
  const vandal = `
    const types = [Object, Array, String, Promise, Map, Set, Uint8Array, Function, JSON, Reflect]
    const { ownKeys } = Reflect
    for (let i = 0; i < types.length; i++) {
      const keys = ownKeys(types[i].prototype ?? types[i])
      for (let k = 0; k < keys.length; k++) {
        if (keys[k] === '__proto__') continue
        try { (types[i].prototype ?? types[i])[keys[k]] = () => { throw new Error('gotcha') } } catch {}
      }
    }
    console.log('log', { a: [1] }, dir.files('*.txt').length, dir.file('a.txt').text())
    Object.prototype.toJSON = () => ({ name: 'forged' })
    emit('a.txt', 'text')
    export default () => 'fine'`
  const files = makeFiles({ 'a.txt': 'A' })
  const { error, results, log } = await runGuest(vandal, { directory: files.directory })
  files.remove()
  assert.is(error, undefined)
  assert.is(log, 'log { a: [ 1 ] } 1 A\n')
  assert.equal(results, { 'a.txt': 'text', result: 'fine' })
})

test.run()
