/** Programs that do not come to an end by themselves. */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { arena, SHORT } from './arena.ts'
import { failed, over, type Attack } from './attack.ts'

const longName = async (directory: string): Promise<void> => {
  for (const letter of ['c', 'd'])
    await writeFile(path.join(directory, 'a'.repeat(120) + letter), '')
}

const deepFolders = async (directory: string): Promise<void> => {
  for (const branch of ['a', 'b', 'c'])
    await mkdir(path.join(directory, ...Array.from({ length: 20 }, () => branch)), {
      recursive: true,
    })
}

const quick = (name: string): Attack => ({
  program: `endless/${name}.js`,
  layer: 'guest runtime',
  expected: { status: 'ok', results: { result: '0\n' } },
})

arena('endless', [
  { program: 'endless/loop.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  {
    program: 'endless/loop.js',
    layer: 'watcher',
    limits: { wallMs: 500 },
    expected: over('wall'),
  },
  { program: 'endless/microtasks.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  {
    program: 'endless/queue-microtask.js',
    layer: 'watcher',
    limits: SHORT,
    expected: over('cpu'),
  },
  { program: 'endless/thenable.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  {
    program: 'endless/never-settles.js',
    layer: 'guest runtime',
    expected: failed('Error', /never settle/),
  },
  {
    program: 'endless/never-settles-emit.js',
    layer: 'guest runtime',
    expected: failed('Error', /never/),
  },
  { program: 'endless/empty-chunks.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  { program: 'endless/regexp.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  { program: 'endless/bigint.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  { program: 'endless/builtin.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  { program: 'endless/sort.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  {
    program: 'endless/catch-the-timeout.js',
    layer: 'watcher',
    limits: SHORT,
    expected: over('cpu'),
  },
  { program: 'endless/wasm.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  { program: 'endless/wasm-start.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  { program: 'endless/in-to-string.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  {
    program: 'endless/in-prepare-stack-trace.js',
    layer: 'watcher',
    limits: SHORT,
    expected: over('cpu'),
  },
  {
    program: 'endless/in-iterator-return.js',
    layer: 'watcher',
    limits: SHORT,
    expected: over('cpu'),
  },
  { program: 'endless/in-log.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
  {
    program: 'endless/json-getter.js',
    layer: 'isolate',
    expected: failed('RangeError', /call stack/),
  },
  // Globs are matched in steps that grow with pattern and name only.
  { ...quick('glob'), prepare: longName },
  { ...quick('glob-groups'), prepare: longName },
  {
    program: 'endless/glob-braces.js',
    layer: 'guest runtime',
    expected: failed('RangeError', /stands for more than \d+ patterns/),
  },
  { ...quick('glob-deep'), prepare: deepFolders },
  { program: 'endless/url.js', layer: 'watcher', limits: SHORT, expected: over('cpu') },
])
