/** Hostile values on everything that crosses between guest and trusted code. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { arena } from './arena.ts'
import { failed, HELD, type Attack, type Seen } from './attack.ts'

const held = (name: string, more: Partial<Attack> = {}): Attack => ({
  program: `border/${name}.js`,
  layer: 'guest runtime',
  expected: HELD,
  ...more,
})
const fails = (name: string, error: string, message: RegExp): Attack => ({
  program: `border/${name}.js`,
  layer: 'guest runtime',
  expected: failed(error, message),
})
const file =
  (name: string, content: string) =>
  (directory: string): Promise<void> =>
    writeFile(path.join(directory, name), content)
const result = (name: string, text: string) => (seen: Seen) =>
  assert.is(seen.results.get(name), text, name)

arena('border', [
  held('broken-prototypes', {
    verify: result(
      'json',
      '{\n  "a": 1,\n  "b": "two",\n  "c": null,\n  "d": {\n    "e": true\n  }\n}\n',
    ),
  }),
  held('inherited-accessors', { verify: result('plain', 'the canary is alive\n') }),
  // A thenable `undefined` is not one: only objects inherit from Object.prototype.
  held('object-prototype-then', { verify: result('kept.txt', 'kept') }),
  held('symbol-iterator', { verify: result('text', 'text') }),
  held('promise-species'),
  fails('async-iterator-throws', 'Error', /^from the iterator$/),
  held('species', { verify: result('bytes', 'the canary is alive\n') }),
  held('changing-name'),
  held('proxies-as-data'),
  held('buffer-changes-in-flight'),
  {
    program: 'border/emit-in-emit.js',
    layer: 'guest runtime',
    expected: { status: 'ok', results: { outer: 'abc', inner: 'INNER' } },
  },
  held('iterator-games'),
  fails('throw-null', 'Error', /null/),
  fails('throw-proxy', 'Error', /./),
  fails('throw-revoked', 'Error', /./),
  fails('throw-symbol', 'Error', /symbol/i),
  fails('throw-getters', 'Error', /^/),
  fails('throw-huge-message', 'Error', /^xxx/),
  {
    program: 'border/throw-huge-stack.js',
    layer: 'guest runtime',
    expected: { status: 'failed', phase: 'run', message: /^short$/ },
  },
  {
    program: 'border/throw-forged-host-error.js',
    layer: 'guest runtime',
    expected: { status: 'failed', phase: 'run', message: /results store/ },
  },
  fails('throw-control-characters', 'Error', /owned/),
  fails('throw-cause-chain', 'Error', /^99999$/),
  fails('aggregate', 'AggregateError', /^many$/),
  fails('reject-unhandled', 'Error', /unhandled/),
  fails('microtask-throws', 'Error', /from nowhere/),
  held('stack-edge'),
  fails('recursion', 'RangeError', /call stack/),
  fails('deep-json', 'RangeError', /call stack|deep/),
  fails('deep-json-parse', 'RangeError', /call stack|deep/),
  {
    ...fails('deep-json-file', 'RangeError', /call stack|deep/),
    prepare: file('deep.json', '['.repeat(1e5) + ']'.repeat(1e5)),
  },
  fails('deep-clone', 'DataCloneError', /call stack|deep/),
  held('clone-games'),
  held('deep-log'),
  fails('deep-proxy-chain', 'RangeError', /call stack/),
  held('deep-prototype'),
  fails('cyclic', 'TypeError', /circular/),
  held('numbers'),
  held('borrowed-methods'),
  held('reentrant-iterators', {
    prepare: file(
      'many-lines.txt',
      Array.from({ length: 20_000 }, (_, i) => `line ${i}`).join('\n'),
    ),
  }),
  held('frozen-world'),
  held('replaced-globals'),
  held('random-arguments'),
])
