/** What a program finds in its world, and what it does not. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluateGuest, makeFiles, runGuest } from '../support/guest.ts'

const test = suite('guest: globals')

test('console formats as people expect, and is bounded', async () => {
  const { log } = await runGuest(`
    console.log('%s has %d%%', 'x', 5, { a: 1 })
    console.log([1, 'two', { three: new Map([['k', new Set([1])]]) }], null, undefined, -0, 5n)
    console.error(new TypeError('bad'), new Date(0), /x/g, class A {}, Symbol('s'))
    const loop = {}; loop.self = loop; console.log(loop, { get secret() { throw 1 } }, new Proxy({}, {}))
    console.group('in'); console.log('a\\nb'); console.groupEnd(); console.log('out')
    console.table([{ a: 1, b: 'x' }, { a: 22 }])
    console.assert(false, 'no'); console.count(); console.count()`)
  assert.is(
    log,
    `x has 5% { a: 1 }
[ 1, 'two', { three: Map(1) { 'k' => Set(1) { 1 } } } ] null undefined -0 5n
TypeError: bad Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time) /x/g [function A] Symbol(s)
{ self: [Circular] } { secret: [Getter] } {}
in
  a
  b
out
   a   b
0  1   'x'
1  22
Assertion failed: no
default: 1
default: 2
`.replace("'x'", 'x'),
  )
  const flood = await runGuest('for (let i = 0; i < 1e5; i++) console.log("x".repeat(1e5))')
  assert.is(flood.error, undefined)
  assert.ok(flood.log.length < 1.1 * 1024 * 1024)
})

test('same program, same inputs, same bytes', async () => {
  const files = makeFiles({ f: 'x' })
  const source = `
    const before = [Math.random(), crypto.randomUUID()]
    dir.file('f').text()
    ;[before, Math.random(), [...crypto.getRandomValues(new Uint8Array(70))], Date.now(),
      new Date().toISOString(), Date(), performance.now(), new Date().getTimezoneOffset(),
      new Intl.DateTimeFormat('en', { timeStyle: 'full' }).format()]`
  try {
    const first = await evaluateGuest(source, files)
    assert.equal(await evaluateGuest(source, files), first)
    assert.is((first as unknown[])[3], Date.UTC(2026, 0, 2, 3, 4, 5))
    assert.match(String((first as unknown[])[8]), /^3:04:05.AM Coordinated Universal Time$/)
    const seeded = await evaluateGuest(source, { ...files, seed: new Uint8Array(32).fill(1) })
    assert.not.equal((seeded as unknown[])[0], (first as unknown[])[0])
    const other = makeFiles({ f: 'xy' })
    const changed = (await evaluateGuest(source, other)) as unknown[]
    other.remove()
    assert.equal(changed[0], (first as unknown[])[0])
    assert.not.equal(changed[1], (first as unknown[])[1])
  } finally {
    files.remove()
  }
  const values = (await evaluateGuest('Array.from({ length: 4000 }, Math.random)')) as number[]
  const mean = values.reduce((a, b) => a + b) / values.length
  assert.ok(mean > 0.47 && mean < 0.53 && new Set(values).size === 4000)
})

test('nothing shared, nothing weak, no Node, also not by way of Wasm', async () => {
  const source = `
    const names = ['SharedArrayBuffer', 'Atomics', 'WeakRef', 'FinalizationRegistry', 'process',
      'require', 'setTimeout', 'fetch', 'ivm', 'gc', 'Buffer', 'global']
    const wasm = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 5, 4, 1, 3, 1, 1, 7, 5, 1, 1, 109, 2, 0)
    const shared = new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports.m
    let refused
    try { new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }) } catch (e) { refused = e.message }
    ;[
      names.filter((name) => name in globalThis),
      refused,
      shared.buffer.constructor === Object,
      Object.getOwnPropertyNames(Object.getPrototypeOf(shared.buffer)).includes('constructor'),
      shared.constructor === WebAssembly.Memory,
      new WebAssembly.Memory({ initial: 1 }).buffer.byteLength,
      typeof dir.constructor.constructor('return this')().process,
    ]`
  assert.equal(await evaluateGuest(source), [
    [],
    'WebAssembly.Memory: shared memory is not available',
    true,
    false,
    true,
    65_536,
    'undefined',
  ])
})

test('TextEncoder and TextDecoder', async () => {
  const source = `
    const bytes = (...b) => Uint8Array.from(b)
    const d = new TextDecoder()
    const streamed = []
    for (const b of new TextEncoder().encode('a€\u{1f600}é')) streamed.push(d.decode(bytes(b), { stream: true }))
    streamed.push(d.decode())
    const fails = (f) => { try { f() } catch (e) { return e.name } }
    ;[
      [...new TextEncoder().encode('é\\ud800')], streamed.join('|'),
      new TextDecoder().decode(bytes(0xef, 0xbb, 0xbf, 0x61)),
      new TextDecoder('utf8', { ignoreBOM: true }).decode(bytes(0xef, 0xbb, 0xbf, 0x61)).length,
      new TextDecoder().decode(bytes(0xf0, 0x9f, 0x41, 0xe2, 0x82)),
      fails(() => new TextDecoder('utf-8', { fatal: true }).decode(bytes(0xff))),
      fails(() => new TextDecoder('klingon')), new TextDecoder('latin1').decode(bytes(0xe9, 0x80)),
      new TextDecoder('utf-16le').decode(bytes(0x3d, 0xd8, 0x00, 0xde, 0x41, 0)),
      new TextEncoder().encodeInto('a€b', new Uint8Array(3)),
      d.decode(bytes(0xe2), { stream: true }) + d.decode(bytes(0x41), { stream: true }) + d.decode(),
    ]`
  assert.equal(await evaluateGuest(source), [
    [0xc3, 0xa9, 0xef, 0xbf, 0xbd],
    'a|||€||||\u{1f600}||é|',
    'a',
    2,
    '\ufffdA\ufffd',
    'TypeError',
    'RangeError',
    'é€',
    '\u{1f600}A',
    { read: 1, written: 1 },
    '\ufffdA',
  ])
})

test('atob and btoa agree with Node', async () => {
  const texts = ['', 'a', 'ab', 'abc', '\xff\x00\x80~']
  const expected = texts.map((text) => [btoa(text), text])
  const source = `${JSON.stringify(texts)}.map((t) => [btoa(t), atob(' ' + btoa(t))])`
  assert.equal(await evaluateGuest(source), expected)
  for (const bad of ['atob("a")', 'atob("ab=c")', 'atob("a-b_")', 'btoa("€")']) {
    assert.is((await runGuest(bad)).error?.name, 'InvalidCharacterError', bad)
  }
})

test('URL and URLSearchParams agree with Node', async () => {
  const cases: [href: string, base?: string][] = [
    ['https://user:p%20w@EXAMPLE.com:443/a/../b?x=1&y=%20#h'],
    ['../c?d', 'http://h/a/b/'],
    ['http://ex ample'],
    ['http://münchen.example/ß'],
    ['file:///C:/x/../y'],
    ['data:text/plain,hi there'],
    ['//x', 'foo:'],
    ['http://[::1]:80/'],
    ['http://1.1/'],
  ]
  const program = (URLType: typeof URL): unknown =>
    cases.map(([href, base]) => {
      try {
        const url = new URLType(href, base)
        const { hash, host, origin, password, pathname, port, protocol, search, username } = url
        url.searchParams.append('k ey', 'vä&l=ue+')
        url.pathname = '/new path'
        url.hostname = 'other.example'
        url.search += '&z'
        return [
          { hash, host, origin, password, pathname, port, protocol, search, username },
          url.href,
          [...url.searchParams],
          String(url),
          JSON.stringify(url),
        ]
      } catch (error) {
        return (error as Error).name
      }
    })
  const source = `const cases = ${JSON.stringify(cases)}; (${program.toString()})(URL)`
  assert.equal(await evaluateGuest(source), program(URL))

  const params = (Type: typeof URLSearchParams): unknown => {
    const p = new Type('?b=2&a=1&b=%zz+%C3%A9&=&c')
    p.append('a', '\ud800')
    p.set('b', '€')
    p.delete('c')
    p.sort()
    return [
      p.toString(),
      p.get('b'),
      p.getAll('a'),
      p.has('a', '1'),
      p.get('none'),
      p.size,
      [...p.keys()],
      new Type({ q: 'x y', r: '*-._~' }).toString(),
      new Type([['m', 'n']]).toString(),
    ]
  }
  assert.equal(
    await evaluateGuest(`(${params.toString()})(URLSearchParams)`),
    params(URLSearchParams),
  )
})

test('structuredClone', async () => {
  const source = `
    const from = { d: new Date(5), m: new Map([[1, { n: [2] }]]), s: new Set('a'), b: Uint8Array.of(1), e: new RangeError('r'), r: /x/g, u: undefined }
    from.self = from
    const to = structuredClone(from)
    const buffer = new ArrayBuffer(8)
    const moved = structuredClone(buffer, { transfer: [buffer] })
    const fails = (v) => { try { structuredClone(v) } catch (e) { return e.name } }
    ;[to !== from, to.self === to, +to.d, to.m.get(1), to.s.has('a'), to.b[0], to.e instanceof RangeError,
      to.r.flags, 'u' in to, buffer.byteLength, moved.byteLength, fails(() => 1), fails(Symbol())]`
  assert.equal(await evaluateGuest(source), [
    true,
    true,
    5,
    { n: [2] },
    true,
    1,
    true,
    'g',
    true,
    0,
    8,
    'DataCloneError',
    'DataCloneError',
  ])
})

test.run()
