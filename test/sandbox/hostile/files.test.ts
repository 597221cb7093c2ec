/** Programs that reach for files which are not theirs, and files that are not what they seem. */
import { execFile } from 'node:child_process'
import { lstat, mkdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import * as assert from 'uvu/assert'
import { arena } from './arena.ts'
import { failed, HELD, over, type Attack } from './attack.ts'

const exec = promisify(execFile)
const ROOT = process.getuid?.() === 0
const NOBODY = 65_534

const held = (name: string, more: Partial<Attack> = {}): Attack => ({
  program: `files/${name}.js`,
  layer: 'inputs',
  expected: HELD,
  ...more,
})

const subdirectory = async (directory: string): Promise<void> => {
  await mkdir(path.join(directory, 'sub'))
  await writeFile(path.join(directory, 'sub', 'inside.txt'), 'inside')
}

const links = async (directory: string): Promise<void> => {
  await subdirectory(directory)
  const link = (target: string, name: string): Promise<void> =>
    symlink(target, path.join(directory, name))
  await link('../secret.txt', 'link-relative')
  await link(path.resolve(directory, '../secret.txt'), 'link-absolute')
  await link('link-relative', 'link-twice')
  await link('/proc/self/environ', 'link-proc')
  await link('link-loop', 'link-loop')
  await link('..', 'link-dir')
  await link('/', 'link-root')
  await link('../..', 'sub/link-up')
  await link('canary.txt', 'link-inside')
}

const specials = async (directory: string): Promise<void> => {
  await subdirectory(directory)
  const at = (name: string): string => path.join(directory, name)
  await exec('mkfifo', [at('fifo')])
  await symlink('fifo', at('link-fifo'))
  if (ROOT) {
    await exec('mknod', [at('null'), 'c', '1', '3'])
    await exec('mknod', [at('zero'), 'c', '1', '5'])
    await exec('mknod', [at('tty'), 'c', '5', '0'])
    await exec('mknod', [at('disk'), 'b', '7', '200'])
  }
  // A relative name, because a socket's path is short.
  const server = net.createServer()
  const bound = path.relative(process.cwd(), at('socket'))
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject)
    server.listen(bound, resolve)
  })
  await rename(at('socket'), at('socket-kept'))
  await new Promise((resolve) => server.close(resolve))
  await rename(at('socket-kept'), at('socket'))
  assert.ok((await lstat(at('socket'))).isSocket())
}

const forbidden = async (directory: string): Promise<void> => {
  const at = (name: string): string => path.join(directory, name)
  await writeFile(at('only-root.txt'), 'SECRET', { mode: 0o600 })
  await mkdir(at('closed'), { mode: 0o700 })
  await writeFile(at('closed/inside.txt'), 'SECRET')
}

const ODD_NAMES = [
  '\n',
  ' ',
  '"quoted"',
  '$(id)',
  '%s%n',
  '-rf',
  '<script>',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'then',
  'toString',
  'valueOf',
  'x'.repeat(255),
  '\u202egpj.exe',
  '\u{1f600}',
  '\u001b[31m',
  '\\',
  'a\\b',
  '*',
  '{a,b}',
  '[ab]',
]

const oddNames = async (directory: string): Promise<void> => {
  for (const name of ODD_NAMES) await writeFile(path.join(directory, name), 'odd')
  for (const bytes of [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0x80, 0x2e, 0x2e]])
    await writeFile(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(bytes)]), 'odd')
}

const manyEntries = async (directory: string): Promise<void> => {
  // In a process of its own: a hundred thousand files from here would take the pool's threads.
  const script = 'cd "$1" && seq -f "entry-%06.0f" 1 99999 | xargs touch'
  await exec('sh', ['-c', script, 'sh', directory])
}

const sparse = async (directory: string): Promise<void> => {
  await writeFile(path.join(directory, 'sparse'), '')
  await truncate(path.join(directory, 'sparse'), 1024 ** 3)
}

const change = async (directory: string, over: AbortSignal): Promise<void> => {
  const file = path.join(directory, 'changing.txt')
  const steps = [
    () => writeFile(file, 'a line\n'.repeat(100_000)),
    () => truncate(file, 10),
    () => writeFile(file, 'more\n'.repeat(100_000), { flag: 'a' }),
    () => writeFile(`${file}.new`, 'b'.repeat(500_000)).then(() => rename(`${file}.new`, file)),
    () => truncate(file, 0),
    () => truncate(file, 1_000_000),
    () => rm(file),
  ]
  for (let step = 0; !over.aborted; step = (step + 1) % steps.length) {
    await steps[step]?.()
    await delay(1)
  }
}

const attacks: Attack[] = [
  held('paths-out', { prepare: subdirectory }),
  held('links-out', { prepare: links }),
  held('special-files', { prepare: specials }),
  held('odd-names', { prepare: oddNames }),
  {
    program: 'files/many-entries.js',
    layer: 'inputs',
    prepare: manyEntries,
    expected: { status: 'ok', results: { result: '100000 1000' } },
  },
  held('changes-while-read', {
    limits: { inputs: 100_000 },
    prepare: (directory) => writeFile(path.join(directory, 'changing.txt'), 'a line\n'.repeat(1e5)),
    meanwhile: change,
  }),
  {
    program: 'files/slow-host.js',
    layer: 'watcher',
    limits: { wallMs: 500 },
    expected: over('wall'),
  },
  { program: 'files/inputs-flood.js', layer: 'protocol', expected: over('inputs') },
  {
    program: 'files/handles-flood.js',
    layer: 'resource limits',
    limits: { inputs: 100_000 },
    expected: failed('Error', /too many files are open/),
  },
  held('reopen-flood', { limits: { inputs: 100_000 }, layer: 'guest runtime' }),
  {
    program: 'files/one-line.js',
    layer: 'guest runtime',
    prepare: sparse,
    expected: failed('RangeError', /sparse/),
  },
  {
    program: 'files/sparse-text.js',
    layer: 'guest runtime',
    prepare: sparse,
    expected: failed('RangeError', /sparse/),
  },
]
// Only root can make a file that the program's principal may not read and then become another.
if (ROOT) attacks.push(held('forbidden-file', { prepare: forbidden, uid: NOBODY }))
else console.log('SKIP files/forbidden-file.js: needs root')

arena('files', attacks)
