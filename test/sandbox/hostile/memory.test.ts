/** Programs that want more memory than they may have. */
import { truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { arena } from './arena.ts'
import { failed, over, type Attack } from './attack.ts'

const MiB = 1024 ** 2
const GiB = 1024 ** 3

const sparse = async (directory: string): Promise<void> => {
  const file = path.join(directory, 'sparse')
  await writeFile(file, '')
  await truncate(file, 8 * GiB)
}

const large = (directory: string): Promise<void> =>
  writeFile(path.join(directory, 'large.txt'), 'a line of text\n'.repeat(200_000))

/** Little, so that it is soon used up. */
const limits = { memoryBytes: 32 * MiB, cpuMs: 4_000, resultFiles: 1e9 }

/** Where the engine looks before it takes memory, the program gets an error that it could handle,
 * unless the last of it went to something that does not look. */
const refused = (name: string): Attack => ({
  program: `memory/${name}.js`,
  layer: 'resource limits',
  limits,
  expected: [failed('RangeError', /memory|alloc/i), over('memory')],
})

/** Where it does not, the run is over. */
const ended = (name: string, layer: Attack['layer'] = 'isolate limits'): Attack => ({
  program: `memory/${name}.js`,
  layer,
  limits,
  expected: over('memory'),
})

/** V8 takes some of its memory without a look at whether there was any; or so slowly that the
 * processor's limit comes first. */
const either = (name: string): Attack => ({
  ...ended(name, 'resource limits'),
  expected: [over('memory'), over('cpu'), { status: 'crashed' }],
})

arena('memory', [
  ended('objects'),
  ended('strings'),
  ended('rope', 'resource limits'),
  ended('arrays', 'resource limits'),
  ended('array-concat', 'resource limits'),
  ended('map', 'resource limits'),
  refused('array-buffers'),
  refused('array-buffer-at-once'),
  refused('resizable-buffers'),
  refused('transferred-buffers'),
  refused('wasm-memory'),
  refused('wasm-memories'),
  either('wasm-table'),
  either('wasm-modules'),
  either('symbols'),
  either('functions'),
  either('regexps'),
  ended('microtasks'),
  { ...either('open-iterators'), prepare: large },
  {
    program: 'memory/whole-file.js',
    layer: 'guest runtime',
    limits,
    prepare: sparse,
    expected: failed('RangeError', /sparse|memory|alloc/i),
  },
  {
    ...ended('structured-clone'),
    expected: [
      over('memory'),
      over('cpu'),
      failed('DataCloneError', /memory/),
      { status: 'crashed' },
    ],
  },
  either('async-emits'),
])
