/**
 * How fast a program in the sandbox reads a file, beside plain Node on the same file in the same
 * run: lines of ASCII and of other text, whole bytes, and chunks. `wc -l` and `awk` for scale.
 * Arguments: MiB a file (1024), repetitions (3).
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DEFAULT_RUN_LIMITS } from '../../src/config/limits.ts'
import { createSandbox } from '../../src/sandbox/index.ts'
import type { RunInputs } from '../../src/sandbox/types.ts'
import { median, row } from './measure.ts'

const MiB = 1024 * 1024
const sizeMiB = Number(process.argv[2] ?? 1024)
const repetitions = Number(process.argv[3] ?? 3)

/** Lines of 1 to 120 characters, as logs have; every tenth word of the other file is Cyrillic. */
function makeFile(file: string, word: string): void {
  let state = 1
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) % below
  }
  let block = ''
  while (block.length < MiB) {
    const words = Array.from({ length: 1 + random(18) }, () =>
      random(10) === 0 ? word : 'abcdefghij'.slice(0, 1 + random(9)),
    )
    block += `${words.join(' ')}\n`
  }
  const bytes = Buffer.from(block)
  const fd = openSync(file, 'w')
  for (let written = 0; written < sizeMiB * MiB;) written += writeSync(fd, bytes)
  closeSync(fd)
}

/** What one would write by hand for speed: whole lines of a chunk decoded and split at once. */
function* plainLines(file: string): Generator<string> {
  const fd = openSync(file, 'r')
  let buffer = Buffer.allocUnsafe(64 * 1024)
  let kept = 0
  for (;;) {
    const count = readSync(fd, buffer, kept, buffer.length - kept, null)
    if (count === 0) break
    const end = kept + count
    const newline = buffer.lastIndexOf(0x0a, end - 1)
    if (newline < 0) {
      kept = end
      if (kept === buffer.length) buffer = Buffer.concat([buffer, Buffer.alloc(buffer.length)])
      continue
    }
    yield* buffer.toString('utf8', 0, newline).split('\n')
    buffer.copy(buffer, 0, newline + 1, end)
    kept = end - newline - 1
  }
  if (kept > 0) yield buffer.toString('utf8', 0, kept)
  closeSync(fd)
}

function plainChunks(file: string): number {
  const fd = openSync(file, 'r')
  let sum = 0
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(256 * 1024)
    const count = readSync(fd, chunk, 0, chunk.length, null)
    if (count === 0) break
    sum += count
  }
  closeSync(fd)
  return sum
}

/** `bytes()` of a file in slices of 64 MiB: whole ones fit no run's memory. */
function plainBytes(file: string): number {
  const fd = openSync(file, 'r')
  const { size } = statSync(file)
  let sum = 0
  for (let at = 0; at < size; at += 64 * MiB) {
    const bytes = Buffer.allocUnsafeSlow(Math.min(64 * MiB, size - at))
    sum += readSync(fd, bytes, 0, bytes.length, at)
  }
  closeSync(fd)
  return sum
}

function countLines(file: string): number {
  let sum = 0
  for (const line of plainLines(file)) sum += line.length
  return sum
}

const PROGRAMS = {
  lines: 'let n = 0; for (const line of dir.file(NAME).lines()) n += line.length; return n',
  chunks: 'let n = 0; for (const c of dir.file(NAME).chunks()) n += c.length; return n',
  bytes: `const f = dir.file(NAME); let n = 0
    for (let at = 0; at < f.size; at += ${64 * MiB}) n += f.slice(at, at + ${64 * MiB}).bytes().length
    return n`,
}

const folder = mkdtempSync(path.join(tmpdir(), 'insitu-bench-'))
const sandbox = createSandbox({
  jail: 'bubblewrap',
  maxWorkers: 2,
  idleWorkers: 1,
  queuedRuns: 4,
  idleMs: 60_000,
  spoolDirectory: folder,
})

const inputs: RunInputs = {
  open: async (name) => {
    const file = path.join(folder, name)
    const { size, mtimeNs } = statSync(file, { bigint: true })
    return { fd: openSync(file, 'r'), sizeBytes: Number(size), mtimeNs }
  },
  stat: async (name) => {
    const { size, mtimeNs } = statSync(path.join(folder, name), { bigint: true })
    return { kind: 'file', sizeBytes: Number(size), mtimeNs }
  },
  list: async () => [],
}

interface Timed {
  readonly seconds: number
  readonly value: number
  readonly peakMiB: number
}

async function guest(program: keyof typeof PROGRAMS, name: string): Promise<Timed> {
  const body = PROGRAMS[program].replaceAll('NAME', JSON.stringify(name))
  const started = performance.now()
  const outcome = await sandbox.run({
    tenant: 'bench',
    principal: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, groups: [] },
    source: Buffer.from(`export default (dir) => { ${body} }`),
    library: undefined,
    seed: new Uint8Array(32),
    nowMs: 0,
    limits: DEFAULT_RUN_LIMITS,
    inputs,
    onLog: () => {},
  }).outcome
  const seconds = (performance.now() - started) / 1000
  if (outcome.status !== 'ok') throw new Error(`the run ended as ${JSON.stringify(outcome)}`)
  const [result] = outcome.results
  if (result === undefined || !('bytes' in result)) throw new Error('the run gave no result')
  const value = Number(Buffer.from(result.bytes).toString())
  return { seconds, value, peakMiB: outcome.usage.peakMemoryBytes / MiB }
}

function plain(work: () => number): Timed {
  const started = performance.now()
  const value = work()
  return { seconds: (performance.now() - started) / 1000, value, peakMiB: 0 }
}

try {
  row(`MB/s over ${sizeMiB} MiB`, 'sandbox', 'plain Node', 'ratio', 'worker MiB')
  for (const [kind, word] of [
    ['ASCII', 'service'],
    ['other', 'сервис'],
  ] as const) {
    const name = `${kind}.log`
    const file = path.join(folder, name)
    makeFile(file, word)
    const { size } = statSync(file)
    const rate = (runs: readonly Timed[]): number =>
      size / 1e6 / median(runs.map(({ seconds }) => seconds))
    const peers = { lines: countLines, chunks: plainChunks, bytes: plainBytes }
    for (const program of ['lines', 'chunks', 'bytes'] as const) {
      if (kind !== 'ASCII' && program !== 'lines') continue
      const ours: Timed[] = []
      const theirs: Timed[] = []
      // In turns, so that both meet the same machine.
      for (let i = 0; i < repetitions; i++) {
        theirs.push(plain(() => peers[program](file)))
        ours.push(await guest(program, name))
      }
      if (ours[0]?.value !== theirs[0]?.value) throw new Error(`${program}: the results differ`)
      const ratio = rate(ours) / rate(theirs)
      const peak = Math.max(...ours.map(({ peakMiB }) => peakMiB))
      row(`${program}, ${kind}`, rate(ours), rate(theirs), ratio, peak)
    }
    for (const [command, ...args] of [
      ['wc', '-l', file],
      ['awk', '{ n += length($0) } END { print n }', file],
    ]) {
      const timed = plain(() => execFileSync(command ?? '', args).length)
      row(`${command}, ${kind}`, '', rate([timed]))
    }
    rmSync(file)
  }
} finally {
  await sandbox.close()
  rmSync(folder, { recursive: true, force: true })
}
