/** Programs that look for a way out of their realm, or for what makes side channels. */
import { arena } from './arena.ts'
import { failed, HELD, over, rejected, type Attack } from './attack.ts'

const held = (name: string, layer: Attack['layer'] = 'isolate'): Attack => ({
  program: `escape/${name}.js`,
  layer,
  expected: HELD,
})

arena('escape', [
  held('realm-walk'),
  held('constructor-constructor'),
  held('prepare-stack-trace', 'guest runtime'),
  {
    program: 'escape/prepare-stack-trace-thrown.js',
    layer: 'guest runtime',
    expected: failed('Error', /^plain$/),
  },
  held('caller-walk', 'guest runtime'),
  held('dynamic-import', 'worker'),
  {
    program: 'escape/import-node.js',
    layer: 'worker',
    expected: [rejected(/node:fs/), failed('Error', /node:fs/)],
  },
  {
    program: 'escape/import-file.js',
    layer: 'worker',
    expected: [rejected(/canary/), failed('Error', /canary/)],
  },
  {
    program: 'escape/import-program.js',
    layer: 'worker',
    expected: [rejected(/\.compute/), failed('Error', /\.compute/)],
  },
  held('import-meta'),
  held('eval-realm'),
  { program: 'escape/natives-syntax.js', layer: 'isolate', expected: rejected(/./) },
  held('wasm-shared-memory', 'guest runtime'),
  held('wasm-shared-async', 'guest runtime'),
  {
    program: 'escape/wasm-wait.js',
    layer: 'watcher',
    limits: { wallMs: 500 },
    expected: over('wall'),
  },
  held('weak-by-other-ways', 'guest runtime'),
  held('clock', 'guest runtime'),
  held('debugger'),
  held('inspector', 'guest runtime'),
])
