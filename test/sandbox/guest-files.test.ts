/** `dir` and its files, and what lines() makes of every kind of file. */
import { symlinkSync, truncateSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { evaluateGuest, makeFiles, runGuest } from '../support/guest.ts'

const MiB = 1024 * 1024
const test = suite('guest: files')

const files = makeFiles({
  'b.log': 'one\ntwo\n',
  'a.log': 'three\r\nfour',
  'é.log': 'five\n',
  '\u{10000}.log': '',
  '\uffff.log': '',
  '.hidden.log': 'no\n',
  'data.json': '\ufeff{"n": 1}',
  'bad.json': '{',
  'sub/c.log': 'six\n',
  'sub/deep/d.log': 'seven\n',
  'sub/.git/e.log': 'no\n',
  'odd [1]*.txt': 'brackets',
})
test.after(() => files.remove())

const here = { directory: files.directory }

test('files() is sorted by bytes and leaves out what starts with a dot', async () => {
  const names = await evaluateGuest('dir.files("*.log").map((f) => f.name)', here)
  assert.equal(names, ['a.log', 'b.log', 'é.log', '\uffff.log', '\u{10000}.log'])
  assert.equal(await evaluateGuest('dir.files(".*").map((f) => f.name)', here), ['.hidden.log'])
  assert.is(await evaluateGuest('dir.files().length', here), 8)
  assert.equal(await evaluateGuest('dir.dirs().map((d) => d.path)', here), ['sub'])
})

test('globs', async () => {
  const cases: [glob: string, paths: string[]][] = [
    [
      '**/*.log',
      ['a.log', 'b.log', 'sub/c.log', 'sub/deep/d.log', 'é.log', '\uffff.log', '\u{10000}.log'],
    ],
    ['sub/**', ['sub/c.log', 'sub/deep/d.log']],
    ['**/deep/*', ['sub/deep/d.log']],
    ['sub/*/d.log', ['sub/deep/d.log']],
    ['{a,b}.log', ['a.log', 'b.log']],
    ['{sub/{c,x},b}.log', ['b.log', 'sub/c.log']],
    ['[a-b].log', ['a.log', 'b.log']],
    ['[!a-b].log', ['é.log', '\uffff.log', '\u{10000}.log']],
    ['?.log', ['a.log', 'b.log', 'é.log', '\uffff.log', '\u{10000}.log']],
    ['odd \\[1\\]\\*.txt', ['odd [1]*.txt']],
    ['data.json', ['data.json']],
    ['nothing/*', []],
    ['{a,{b.log', []],
  ]
  for (const [glob, paths] of cases) {
    const found = await evaluateGuest(`dir.files(${JSON.stringify(glob)}).map((f) => f.path)`, here)
    assert.equal(found, paths, glob)
  }
  for (const glob of ['../*', '/etc/*', 'a//b', '']) {
    const { error } = await runGuest(`dir.files(${JSON.stringify(glob)})`, here)
    assert.match(error?.message ?? '', /leads out of this directory/)
  }
})

test('no glob hangs', async () => {
  const globs = [
    '*a'.repeat(1_000),
    '**/'.repeat(1_000) + 'x',
    '{a,b}'.repeat(9) + '*'.repeat(1_000),
  ]
  for (const glob of globs) {
    assert.equal(await evaluateGuest(`dir.files(${JSON.stringify(glob)})`, here), [])
  }
  const { error } = await runGuest(`dir.files('${'{a,b}'.repeat(20)}')`, here)
  assert.match(error?.message ?? '', /more than 1000 patterns/)
})

test('links count as what they lead to; names lead down only', async () => {
  const files = makeFiles({ 'real.txt': '12345', 'd/x.txt': '' })
  symlinkSync('real.txt', path.join(files.directory, 'link.txt'))
  symlinkSync('nowhere', path.join(files.directory, 'broken.txt'))
  symlinkSync('.', path.join(files.directory, 'loop'))
  try {
    const found = await evaluateGuest('dir.files("**/*.txt").map((f) => [f.path, f.size])', files)
    assert.equal(found, [
      ['d/x.txt', 0],
      ['link.txt', 5],
      ['real.txt', 5],
    ])
  } finally {
    files.remove()
  }
  for (const name of ['..', '../x', '/etc/passwd', 'a/../../b', '', 'a\0b', './a']) {
    const { error } = await runGuest(`dir.file(${JSON.stringify(name)}).text()`, here)
    assert.is(error?.name, 'TypeError', name)
  }
})

test('a file that is not there', async () => {
  const { error } = await runGuest('dir.file("nope").text()', here)
  assert.match(error?.message ?? '', /ENOENT/)
  assert.equal(
    await evaluateGuest('try { dir.file("nope").lines().next() } catch (e) { [e.code] }', here),
    ['ENOENT'],
  )
  assert.equal(
    await evaluateGuest('[dir.file("nope").exists(), dir.file("a.log").exists()]', here),
    [false, true],
  )
})

test('text, json, bytes, slices', async () => {
  const source = `({
    text: dir.file('a.log').text(),
    awaited: await dir.file('b.log').text(),
    json: dir.file('data.json').json(),
    bytes: [...dir.file('data.json').bytes().subarray(0, 4)],
    size: dir.file('é.log').size,
    slice: dir.file('b.log').slice(1, -1).text(),
    sliceOfSlice: dir.dir('sub').file('c.log').slice(1).slice(1, 2).text(),
    beyond: dir.file('b.log').slice(100).text(),
    age: dir.file('b.log').lastModified > 1.6e12,
  })`
  assert.equal(await evaluateGuest(`export default ${source}`, here), {
    text: 'three\r\nfour',
    awaited: 'one\ntwo\n',
    json: { n: 1 },
    bytes: [0xef, 0xbb, 0xbf, 0x7b],
    size: 5,
    slice: 'ne\ntwo',
    sliceOfSlice: 'x',
    beyond: '',
    age: true,
  })
  const { error } = await runGuest('dir.file("bad.json").json()', here)
  assert.match(error?.message ?? '', /^json\(\): bad\.json: /)
})

test('lines: endings, byte order mark, encodings, nothing at all', async () => {
  const long = 'x'.repeat(300_000)
  const cases: [content: string | Uint8Array, lines: string[]][] = [
    ['', []],
    ['\n', ['']],
    ['\n\n', ['', '']],
    ['a', ['a']],
    ['a\r\nb\rc\r\n', ['a', 'b\rc']],
    ['a\r', ['a\r']],
    ['\ufeffa\n\ufeffb', ['a', '\ufeffb']],
    ['grüße €\n日本\n\u{1f600}\n', ['grüße €', '日本', '\u{1f600}']],
    [Uint8Array.of(0x61, 0xff, 0x0a, 0xc3, 0x0a, 0xe2, 0x82), ['a\ufffd', '\ufffd', '\ufffd']],
    ['a\0b\n', ['a\0b']],
    [`${long}\ny\n${long}é`, [long, 'y', `${long}é`]],
  ]
  for (const [content, lines] of cases) {
    const files = makeFiles({ f: content })
    const found = await evaluateGuest('[...dir.file("f").lines()]', files)
    const chunked = await evaluateGuest(
      '[[...dir.file("f").chunks(1000)].map((c) => [...c]).flat()]',
      files,
    )
    files.remove()
    assert.equal(found, lines, JSON.stringify(content).slice(0, 80))
    assert.equal(chunked, [[...Buffer.from(content)]])
  }
})

test('lines that fall on the edges of chunks are whole', async () => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i} ${'€'.repeat(i % 40)}`)
  const files = makeFiles({ f: lines.join('\n') })
  const found = await evaluateGuest('[...dir.file("f").lines()]', files)
  files.remove()
  assert.equal(found, lines)
})

test('a line over the bound is refused in plain words, however large the file', async () => {
  const files = makeFiles({ big: 'short\n' })
  truncateSync(path.join(files.directory, 'big'), 1024 * MiB)
  try {
    const { error } = await runGuest('for (const line of dir.file("big").lines());', files)
    assert.is(error?.name, 'RangeError')
    assert.match(error?.message ?? '', /^lines\(\): line 2 of big is longer than 33554432 bytes/)
    const text = await runGuest('dir.file("big").text()', files)
    assert.is(text.error?.name, 'RangeError')
    assert.match(text.error?.message ?? '', /^text\(\): big has 1073741824 bytes/)
    const count = 'let n = 0; for (const c of dir.file("big").chunks()) n += c.length; n'
    assert.is(await evaluateGuest(count, files), 1024 * MiB)
  } finally {
    files.remove()
  }
})

test('keeping a few lines does not keep their file', async () => {
  const files = makeFiles({ f: `${'x'.repeat(999)}\n`.repeat(300_000) })
  try {
    const source = `
      const kept = []
      let n = 0
      for (const line of dir.file('f').lines()) if (n++ % 10000 === 0) kept.push(line)
      ;[n, kept.length]`
    const limits = { memoryBytes: 32 * MiB }
    assert.equal(await evaluateGuest(source, { ...files, limits }), [300_000, 30])
  } finally {
    files.remove()
  }
})

test('loops that are left early, and many at once, leave no descriptor', async () => {
  const source = `
    for (const line of dir.file('b.log').lines()) break
    const open = []
    for (let i = 0; i < 50; i++) { const lines = dir.file('b.log').lines(); lines.next(); open.push(lines) }
    dir.file('b.log').lines().map((l) => l.length).toArray()`
  assert.equal(await evaluateGuest(source, here), [3, 3])
})

test.run()
