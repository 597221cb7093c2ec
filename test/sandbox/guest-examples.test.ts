/** Every program in examples/ runs over small data and gives what it says. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type GuestOutcome, makeFiles, runGuest } from '../support/guest.ts'

const root = new URL('../../', import.meta.url)
const folder = new URL('examples/', root)
const test = suite('guest: examples')
const tested = new Set<string>()

async function example(
  name: string,
  data: Readonly<Record<string, string | Uint8Array>>,
  limits: { wallMs?: number } = {},
): Promise<GuestOutcome> {
  tested.add(name)
  const files = makeFiles(data)
  try {
    return await runGuest(readFileSync(new URL(name, folder)), { ...files, limits })
  } finally {
    files.remove()
  }
}

test('log-summary', async () => {
  const { error, results } = await example('log-summary.ts', {
    'a.log': 'INFO start\nERROR disk 7 full\nERROR disk 8 full\nno level\n',
    'sub/b.log': 'WARN slow\nFATAL gone at 0x7f00\n',
    'c.txt': 'ERROR not a log\n',
  })
  assert.is(error, undefined)
  assert.equal(JSON.parse(results['summary.json'] ?? ''), {
    'a.log': { lines: 4, levels: { INFO: 1, ERROR: 2 } },
    'sub/b.log': { lines: 2, levels: { WARN: 1, FATAL: 1 } },
  })
  assert.is(results['top-errors.txt'], '      2  disk # full\n      1  gone at #\n')
})

test('csv-join', async () => {
  const { error, results } = await example('csv-join.js', {
    'customers.csv': 'id,name,city\n1,"Smith, ""Jo""",Ulm\n2,Ada,\n',
    'orders.csv': 'order,customer,note\n10,1,"two\nlines"\n11,2,\n12,9,unknown\n',
  })
  assert.is(error, undefined)
  assert.is(
    results['joined.csv'],
    'order,customer,note,name,city\n' +
      '10,1,"two\nlines","Smith, ""Jo""",Ulm\n11,2,,Ada,\n12,9,unknown,,\n',
  )
})

test('jsonl-to-csv', async () => {
  const { error, results } = await example('jsonl-to-csv.js', {
    'events.jsonl': '{"a":1,"b":"x,y"}\n\n{"a":null,"c":{"d":[1]}}\n',
  })
  assert.is(error, undefined)
  assert.equal(results, { 'events.csv': 'a,b,c\n1,"x,y",\n,,"{""d"":[1]}"\n' })
  const broken = await example('jsonl-to-csv.js', { 'bad.jsonl': '{}\n{\n' })
  assert.match(broken.error?.message ?? '', /^bad\.jsonl, line 2: /)
})

test('word-count', async () => {
  const { error, results } = await example('word-count.js', {
    'a.txt': 'The cat and the dog.\n',
    'sub/b.md': "Don't the cat!\n",
  })
  assert.is(error, undefined)
  assert.is(results['result'], "3\tthe\n2\tcat\n1\tand\n1\tdog\n1\tdon't\n")
})

test('checksums', async () => {
  const data: Record<string, Uint8Array> = { 'sub/x': Buffer.from('abc') }
  for (const size of [0, 1, 55, 56, 63, 64, 65, 1_048_576, 1_048_600]) {
    data[`f${size}`] = Buffer.alloc(size, 'q')
  }
  const { error, results } = await example('checksums.ts', data)
  assert.is(error, undefined)
  const expected = Object.entries(data)
    .map(([name, bytes]) => `${createHash('sha256').update(bytes).digest('hex')}  ${name}\n`)
    .toSorted((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1))
  assert.is(results['SHA256SUMS'], expected.join(''))
})

test('image-sizes', async () => {
  const png = Buffer.alloc(33)
  png.write('\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'latin1')
  png.writeUInt32BE(640, 16)
  png.writeUInt32BE(480, 20)
  const gif = Buffer.from('GIF89a\x0a\x00\x14\x00', 'latin1')
  const jpeg = Buffer.from('ffd8ffe000040000ffc4000400ffc0000b080102030400', 'hex')
  jpeg.set([0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xc0, 0, 11, 8, 1, 2, 3, 4], 2)
  const webp = Buffer.from('RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x63\0\0\x31\0\0', 'latin1')
  const { error, results } = await example('image-sizes.ts', {
    'a.png': png,
    'b.gif': gif,
    'c.jpg': jpeg,
    'd.webp': webp,
    'e.png': 'none',
    'cut.jpg': jpeg.subarray(0, 9),
  })
  assert.is(error, undefined)
  assert.equal(JSON.parse(results['images.json'] ?? ''), {
    'a.png': { width: 640, height: 480 },
    'b.gif': { width: 10, height: 20 },
    'c.jpg': { width: 0x0304, height: 0x0102 },
    'cut.jpg': null,
    'd.webp': { width: 100, height: 50 },
    'e.png': null,
  })
})

test('licences', async () => {
  const { error, results } = await example('licences.js', {
    'a/package.json': '{"name":"a","version":"1.0.0","license":"MIT"}',
    'b/package.json': '{"name":"b","version":"2.0.0","licenses":[{"type":"ISC"},{"type":"MIT"}]}',
    'c/package.json': '{"name":"c","version":"3.0.0"}',
    'd/package.json': '{"type":"module"}',
    'e/package.json': '{"name":"e","version":"1.0.0","license":"MIT"}',
  })
  assert.is(error, undefined)
  assert.equal(JSON.parse(results['licences.json'] ?? ''), {
    MIT: ['a@1.0.0', 'e@1.0.0'],
    'ISC OR MIT': ['b@2.0.0'],
    'none stated': ['c@3.0.0'],
  })
  assert.is(results['summary.txt'], '2\tMIT\n1\tISC OR MIT\n1\tnone stated\n')
})

test('dpkg-history', async () => {
  const { error, results } = await example('dpkg-history.ts', {
    'dpkg.log':
      '2026-01-02 10:00:00 startup archives unpack\n' +
      '2026-01-02 10:00:01 install jq:amd64 <none> 1.6\n' +
      '2026-01-03 09:00:00 upgrade vim:amd64 1 2\n2026-01-03 09:00:00 remove jq:amd64 1.6 <none>\n',
  })
  assert.is(error, undefined)
  assert.is(results['per-day.txt'], '2026-01-02  +1  ^0  -0\n2026-01-03  +0  ^1  -1\n')
})

test('demo programs fail as they should', async () => {
  const data = { 'package.json': '{"name":"x"}' }
  const syntax = await example('demo/syntax-error.js', data)
  assert.equal([syntax.error?.name, syntax.error?.line], ['SyntaxError', 3])
  const failing = await example('demo/failing.js', data)
  assert.equal([failing.error?.name, failing.error?.line], ['TypeError', 3])
  const endless = await example('demo/endless.js', data, { wallMs: 300 })
  assert.is(endless.error?.name, 'TimeLimitError')
  const hostile = await example('demo/hostile.js', data)
  assert.match(hostile.error?.message ?? '', /allocation failed/)
  assert.equal(hostile.results, {})
  assert.is(hostile.log.trim().split('\n').length, 7)
})

test('errors of each log', async () => {
  const { error, results } = await example('compose/app/errors.ts', {
    'a.log': 'ERROR one\nfine\nERROR two\n',
    'b.log': 'fine\n',
    'c.txt': 'ERROR elsewhere\n',
  })
  assert.is(error, undefined)
  assert.equal(JSON.parse(String(results['errors.json'])), { 'a.log': 2, 'b.log': 0 })
})

test('all of them are tested, and the typed ones pass the compiler', () => {
  const programs = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  assert.equal(programs.filter((name) => /\.[jt]s$/.test(name)).toSorted(), [...tested].toSorted())
  const { status, stdout } = spawnSync('node_modules/.bin/tsc', ['-p', 'examples'], {
    cwd: root,
    encoding: 'utf8',
  })
  assert.is(status, 0, stdout)
})

test.run()
