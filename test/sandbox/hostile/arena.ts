/**
 * Runs attacks against a real sandbox, one worker each, and looks afterwards whether anything is
 * amiss: the outcome, what the next run of the same tenant gives, and what is left behind.
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { DEFAULT_RUN_LIMITS } from '../../../src/config/limits.ts'
import { openVolume } from '../../../src/file-server/volume.ts'
import { createSandbox } from '../../../src/sandbox/index.ts'
import type { RunInputs, RunLimits, RunOutcome, Sandbox } from '../../../src/sandbox/types.ts'
import type { Principal } from '../../../src/file-server/types.ts'
import type { Attack, Expected, Seen } from './attack.ts'
import { collectGarbage, descriptors, opened, processesBelow } from './leftovers.ts'
import { readResults } from './results.ts'

const MiB = 1024 * 1024
const OWNER = process.getuid?.() ?? 0

/** Small, so that an attack that must run into a limit does so soon; wall is generous, because the
 * machine may be busy with other things. */
const LIMITS: RunLimits = {
  ...DEFAULT_RUN_LIMITS,
  wallMs: 40_000,
  cpuMs: 20_000,
  memoryBytes: 96 * MiB,
  outputBytes: 16 * MiB,
  resultFiles: 100,
  logBytes: 64 * 1024,
  inputs: 1_000,
}

/** A run that only a limit on time can end gets this much cpu. */
export const SHORT: Partial<RunLimits> = { cpuMs: 400 }

const CANARY = 'the canary is alive\n'
const CANARY_PROGRAM = `
export default (dir) => {
  const polluted = []
  for (const key in {}) polluted.push(key)
  if (typeof globalThis.leftBehind !== 'undefined' || polluted.length > 0) return 'the last run shows'
  let text = ''
  for (const line of dir.file('canary.txt').lines()) text += line.toUpperCase()
  emit('check.txt', [1, 2, 3].map((n) => n * 2).concat([...dir.files('canary.*')].map((f) => f.name)).join())
  return text
}`
const CANARY_RESULTS = {
  result: 'THE CANARY IS ALIVE',
  'check.txt': '2,4,6,canary.txt',
}

export function arena(name: string, attacks: readonly Attack[]): void {
  const test = suite(name)
  let base: string
  let sandbox: Sandbox
  let before: string[]

  test.before(async () => {
    base = await mkdtemp(path.join(os.tmpdir(), 'insitu-hostile-'))
    await chmod(base, 0o755)
    const spoolDirectory = path.join(base, 'spool')
    await mkdir(spoolDirectory)
    before = await descriptors()
    sandbox = createSandbox({
      jail: 'bubblewrap',
      maxWorkers: 2,
      idleWorkers: 1,
      queuedRuns: 10,
      idleMs: 2_000,
      spoolDirectory,
    })
  })

  test.after(async () => {
    await sandbox.close()
    await rm(base, { recursive: true, force: true })
  })

  for (const attack of attacks)
    test(attack.program, async () => {
      const outside = path.join(base, attack.program.replaceAll('/', '-'))
      const directory = path.join(outside, 'work')
      await mkdir(directory, { recursive: true })
      await writeFile(path.join(outside, 'secret.txt'), 'SECRET')
      await writeFile(path.join(directory, 'canary.txt'), CANARY)
      await attack.prepare?.(directory)

      const source = await sourceOf(attack)
      const seen = await run(attack, outside, source)
      check(attack, seen)

      const next = await run({ ...attack, limits: {} }, outside, Buffer.from(CANARY_PROGRAM))
      assert.equal(next.outcome.status, 'ok', `the next run: ${describe(next.outcome)}`)
      assert.equal(Object.fromEntries(next.results), CANARY_RESULTS, 'the next run')

      // A worker that was killed counts until its process is gone.
      for (let i = 0; i < 200 && sandbox.statistics().runs > 0; i++) await delay(20)
      const { runs, workers } = sandbox.statistics()
      assert.is(runs, 0, 'the sandbox thinks that something runs')
      assert.ok(workers <= 2, `${workers} workers`)
      assert.equal(await readdir(path.join(base, 'spool')), [], 'spool files are left')
      await rm(outside, { recursive: true, force: true })
    })

  test('nothing is left behind', async () => {
    await sandbox.close()
    assert.equal(await processesBelow(process.pid), [], 'processes are left')
    assert.equal(await readdir(path.join(base, 'spool')), [], 'spool files are left')
    // The native halves of volumes close their descriptors when they are collected.
    collectGarbage()
    await delay(100)
    assert.equal(opened(before, await descriptors()), [], 'descriptors are left')
  })

  async function run(
    attack: Attack,
    outside: string,
    source: Uint8Array,
  ): Promise<Seen & { outcome: RunOutcome }> {
    const uid = attack.uid ?? OWNER
    const principal: Principal = { uid, gid: uid, groups: [] }
    const volume = await openVolume(outside)
    const session = await volume.inputs(await volume.keyOf('work'), principal)
    const inputs: RunInputs = {
      open: (name) =>
        name === 'never-answered' ? new Promise<never>(() => {}) : session.open(name),
      stat: (name) => session.stat(name),
      list: (name) => session.list(name),
    }
    let log = ''
    const over = new AbortController()
    const meanwhile = attack.meanwhile?.(path.join(outside, 'work'), over.signal)
    try {
      const outcome = await sandbox.run({
        tenant: attack.program,
        principal,
        source,
        library: undefined,
        seed: new Uint8Array(32).fill(7),
        nowMs: Date.UTC(2026, 0, 1),
        limits: { ...LIMITS, ...attack.limits },
        inputs,
        onLog: (text) => (log += text),
      }).outcome
      return { outcome, log, results: await readResults(outcome) }
    } finally {
      over.abort()
      await meanwhile
      session.close()
      volume.close()
    }
  }

  test.run()
}

function check(attack: Attack, seen: Seen & { outcome: RunOutcome }): void {
  const all: readonly Expected[] = 'status' in attack.expected ? [attack.expected] : attack.expected
  const got = describe(seen.outcome)
  const reasons = all.map((expected) => mismatch(expected, seen))
  assert.ok(
    reasons.includes(undefined),
    `${reasons.join('; ')}: ${got}, results ${preview(seen.results)}`,
  )
  const logBytes = attack.limits?.logBytes ?? LIMITS.logBytes
  assert.ok(Buffer.byteLength(seen.log) <= logBytes, `${seen.log.length} characters of log`)
  if (seen.outcome.status === 'failed') {
    const { name, message, stack } = seen.outcome.error
    for (const text of [name, message, stack]) assert.type(text, 'string')
    assert.ok(name.length + message.length + stack.length < 64 * 1024, 'the report is large')
    assert.not.match(name + message + stack, /[\0-\x08\x0b-\x1f\x7f-\x9f]/, 'control characters')
    assert.not.match(
      stack,
      /\(node:|file:|isolated-vm|src\/worker|insitu:/,
      'frames of trusted code',
    )
  }
  attack.verify?.(seen)
}

/** Why this is not what was expected; undefined if it is. */
function mismatch(
  expected: Expected,
  { outcome, results }: Seen & { outcome: RunOutcome },
): string | undefined {
  if (outcome.status !== expected.status) return `not ${expected.status}`
  if (expected.status === 'ok') {
    for (const [name, text] of Object.entries(expected.results))
      if (results.get(name) !== text) return `result ${name} is not ${JSON.stringify(text)}`
  } else if (expected.status === 'failed' && outcome.status === 'failed') {
    if (outcome.phase !== expected.phase) return `not in ${expected.phase}`
    if (expected.name !== undefined && outcome.error.name !== expected.name)
      return `not a ${expected.name}`
    if (!expected.message.test(outcome.error.message)) return `not ${String(expected.message)}`
  } else if (expected.status === 'over-limit' && outcome.status === 'over-limit') {
    if (outcome.limit !== expected.limit) return `not over ${expected.limit}`
  }
  return undefined
}

function describe(outcome: RunOutcome): string {
  const { usage, ...rest } = outcome
  const text = JSON.stringify(rest, (_, value: unknown) =>
    value instanceof Uint8Array ? `${value.length} bytes` : value,
  )
  return `${text.slice(0, 1_500)} after ${usage.wallMs} ms, ${usage.cpuMs} ms cpu`
}

function preview(results: ReadonlyMap<string, string>): string {
  return JSON.stringify([...results].map(([name, text]) => [name.slice(0, 60), text.slice(0, 500)]))
}

async function sourceOf(attack: Attack): Promise<Uint8Array> {
  if (attack.source !== undefined) return Buffer.from(attack.source() as string)
  return readFile(new URL(`programs/${attack.program}`, import.meta.url))
}
