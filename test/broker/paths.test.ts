/** What tenants may send as a path, and every trick that they may try with one. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import path from 'node:path'
import { faultOfAt, faultOfSubpath, isName, isWithin, overlap } from '../../src/broker/paths.ts'
import { seed } from '../support/broker-arbitraries.ts'

const test = suite('paths')
console.log(`seed ${seed}`)

const ATTACKS = [
  '/',
  '/etc',
  '.',
  '..',
  '../other',
  'a/..',
  'a/../../b',
  'a/./b',
  'a//b',
  'a/',
  '//a',
  'a\0b',
  'a\nb',
  'a\rb',
  '\u001b[2J',
  'a\u007f',
  'a\u0085b',
  'x'.repeat(256),
  `a/${'ä'.repeat(128)}`,
  Array.from({ length: 30 }, () => 'x'.repeat(255)).join('/'),
  Array.from({ length: 65 }, () => 'x').join('/'),
  '.compute',
  'a/.results',
  'a/.results/top.json',
  '.query',
  'a\ud800',
  '\udc00/a',
]

for (const attack of ATTACKS)
  test(`refuses ${JSON.stringify(attack.slice(0, 40))}`, () => {
    assert.type(faultOfAt(attack), 'string')
    assert.type(faultOfSubpath(attack), 'string')
  })

test('lets plain ones pass', () => {
  for (const plain of ['a', 'shared/datasets', '...', '.hidden', 'ä/ö ü', 'x'.repeat(255), 'a\\b'])
    assert.is(faultOfAt(plain), undefined, plain)
  assert.is(faultOfSubpath(''), undefined)
  assert.type(faultOfAt(''), 'string')
})

test('what passes stays below, and is its own normal form', () => {
  const part = fc.constantFrom('..', '.', '', 'a', '.compute', 'b\0', '\n', ' ', '%2e%2e', '~')
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
      const text = parts.join('/')
      if (faultOfAt(text) !== undefined) return
      assert.is(path.posix.normalize(text), text)
      assert.ok(path.posix.resolve('/root', text).startsWith('/root/'))
    }),
    { seed, numRuns: 3_000 },
  )
})

test('within and overlap go by whole parts', () => {
  assert.ok(isWithin('a/b', 'a') && isWithin('a', 'a') && isWithin('a', ''))
  assert.not.ok(isWithin('ab', 'a') || isWithin('a', 'a/b'))
  assert.ok(overlap('a', 'a/b') && overlap('a/b', 'a') && !overlap('a', 'ab'))
})

test('names are good for a file, a label and a URL', () => {
  for (const good of ['a', 'data-1', '9x', 'a.b_c', 'x'.repeat(63)]) assert.ok(isName(good), good)
  for (const bad of ['', '.', '..', '-a', '_a', 'a/b', 'a b', 'a\n', 'ä', 'x'.repeat(64)])
    assert.not.ok(isName(bad), JSON.stringify(bad))
})

test.run()
