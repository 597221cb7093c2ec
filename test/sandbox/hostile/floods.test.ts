/** Too much of everything, work after the end, and what makes the engine itself give up. */
import * as assert from 'uvu/assert'
import { arena, SHORT } from './arena.ts'
import { HELD, over, type Attack, type Seen } from './attack.ts'

const held = (name: string, layer: Attack['layer'], more: Partial<Attack> = {}): Attack => ({
  program: `floods/${name}.js`,
  layer,
  expected: HELD,
  ...more,
})

const plainLog = (seen: Seen): void => {
  assert.not.match(seen.log, /[\0-\x08\x0b-\x1f\x7f-\x9f]/, 'control characters in the log')
}

const GOOD_NAMES = ['__proto__', 'constructor', 'hasOwnProperty', 'toString', 'x'.repeat(255)]

arena('floods', [
  { program: 'floods/output.js', layer: 'protocol', expected: over('output') },
  { program: 'floods/output-at-once.js', layer: 'protocol', expected: over('output') },
  { program: 'floods/output-caught.js', layer: 'protocol', expected: over('output') },
  { program: 'floods/names.js', layer: 'protocol', expected: over('files') },
  {
    program: 'floods/bad-names.js',
    layer: 'guest runtime',
    expected: {
      status: 'ok',
      results: Object.fromEntries(
        [...GOOD_NAMES, '-rf', 'a b', 'nl\nname'].map((name) => [name, `good ${name.length}`]),
      ),
    },
  },
  held('log', 'protocol'),
  held('log-at-once', 'guest runtime'),
  held('log-hostile', 'guest runtime', { verify: plainLog }),
  {
    program: 'floods/calls.js',
    layer: 'watcher',
    limits: { ...SHORT, inputs: 1_000_000 },
    expected: over('cpu'),
  },
  {
    program: 'floods/emit-after-end.js',
    layer: 'guest runtime',
    expected: { status: 'ok', results: { result: 'the value' } },
  },
  held('work-after-run', 'worker', {
    verify: (seen) => assert.not.ok(seen.results.has('never.txt'), 'emitted after the end'),
  }),
  {
    program: 'floods/abort.js',
    layer: 'isolate limits',
    expected: over('memory'),
  },
  held('typed-array-abort', 'isolate'),
])
