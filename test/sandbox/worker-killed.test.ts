/** A worker is killed or stopped at every stage of a run: an ordinary outcome each time. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { openVolume } from '../../src/file-server/volume.ts'
import type { Principal, InputSession, Volume } from '../../src/file-server/types.ts'
import { createSandbox } from '../../src/sandbox/index.ts'
import type { RunInputs, RunOutcome, Sandbox } from '../../src/sandbox/types.ts'
import { collectGarbage, descriptors, opened, processesBelow } from './hostile/leftovers.ts'
import { readResults } from './hostile/results.ts'
import { LIMITS } from './sandbox-kit.ts'

const test = suite('workers killed')
const me = process.getuid?.() ?? 0
const principal: Principal = { uid: me, gid: me, groups: [] }

/** Looks at everything, logs, and emits enough for a spool file. */
const PROGRAM = `
export default (dir) => {
  console.log('started')
  const names = [...dir.files('*')].map((file) => file.name)
  const size = dir.file('input.txt').size
  const text = dir.file('input.txt').text()
  emit('large.txt', 'x'.repeat(1_000_000))
  dir.file('missing').text
  console.log('nearly done')
  return [names.length, size, text.length].join()
}`
const RESULT = '1,6,6'

let folder: string
let spoolDirectory: string
let volume: Volume
let session: InputSession
let sandbox: Sandbox
let before: string[]

test.before(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'insitu-killed-'))
  await writeFile(path.join(folder, 'input.txt'), 'input\n')
  spoolDirectory = await mkdtemp(path.join(os.tmpdir(), 'insitu-killed-spool-'))
  volume = await openVolume(folder)
  session = await volume.inputs(await volume.keyOf(''), principal)
  before = await descriptors()
  sandbox = createSandbox({
    jail: 'bubblewrap',
    maxWorkers: 1,
    idleWorkers: 0,
    queuedRuns: 10,
    idleMs: 60_000,
    spoolDirectory,
    warmLimits: LIMITS,
  })
})

test.after(async () => {
  await sandbox.close()
  session.close()
  volume.close()
  for (const each of [folder, spoolDirectory]) await rm(each, { recursive: true, force: true })
})

/** Only the worker itself: bubblewrap must notice by itself, and the daemon by bubblewrap. */
async function signalWorker(signal: NodeJS.Signals): Promise<void> {
  const all = await processesBelow(process.pid)
  const parents = new Set(all.map(({ parent }) => parent))
  for (const { pid } of all) if (!parents.has(pid)) process.kill(pid, signal)
}

type Stage = 'list' | 'stat' | 'open' | 'log'

interface Staged {
  readonly at: Stage
  readonly act: () => Promise<void>
  readonly wallMs?: number
}

async function run(staged?: Staged): Promise<{ outcome: RunOutcome; result: string | undefined }> {
  let done: Promise<void> | undefined
  const reached = async (stage: Stage): Promise<void> => {
    if (staged?.at === stage) await (done ??= staged.act())
  }
  const inputs: RunInputs = {
    open: async (name) => (await reached('open'), session.open(name)),
    stat: async (name) => (await reached('stat'), session.stat(name)),
    list: async (name) => (await reached('list'), session.list(name)),
  }
  const outcome = await sandbox.run({
    tenant: 'killed',
    principal,
    source: Buffer.from(PROGRAM),
    library: undefined,
    seed: new Uint8Array(32),
    nowMs: 0,
    limits: { ...LIMITS, wallMs: staged?.wallMs ?? LIMITS.wallMs },
    inputs,
    onLog: () => void reached('log'),
  }).outcome
  await done
  const results = await readResults(outcome)
  return { outcome, result: results.get('result') }
}

/** The kernel kills for want of memory, and nobody else does: so that is what SIGKILL means. */
function assertDied(outcome: RunOutcome): void {
  const { status } = outcome
  const ordinary = status === 'crashed' || (status === 'over-limit' && outcome.limit === 'memory')
  assert.ok(ordinary, JSON.stringify(outcome))
}

async function assertRunsAgain(): Promise<void> {
  let { outcome, result } = await run()
  // After starts that failed the pool waits, longer each time, before it starts workers again.
  for (let i = 0; i < 20 && outcome.status === 'unavailable'; i++) {
    await delay(500)
    ;({ outcome, result } = await run())
  }
  assert.is(outcome.status, 'ok', JSON.stringify(outcome))
  assert.is(result, RESULT)
  assert.equal(await readdir(spoolDirectory), [], 'spool files are left')
}

// A worker is the first process of its namespace: other signals than SIGKILL and SIGSTOP do not
// reach it unless it handles them.
for (const at of ['list', 'stat', 'open'] as const)
  test(`SIGKILL while the worker waits for ${at}`, async () => {
    const { outcome } = await run({ at, act: () => signalWorker('SIGKILL') })
    assertDied(outcome)
    await assertRunsAgain()
  })

test('SIGKILL while it logs', async () => {
  const { outcome } = await run({ at: 'log', act: () => signalWorker('SIGKILL') })
  // The log may come with the very end.
  if (outcome.status !== 'ok') assertDied(outcome)
  // Killed after its run it may still be taken for alive a moment later.
  await delay(200)
  await assertRunsAgain()
})

test('SIGSTOP: the wall limit ends it', async () => {
  const { outcome } = await run({ at: 'open', act: () => signalWorker('SIGSTOP'), wallMs: 2_000 })
  assert.is(outcome.status, 'over-limit')
  if (outcome.status === 'over-limit') assert.is(outcome.limit, 'wall')
  await assertRunsAgain()
})

test('SIGKILL while it is idle', async () => {
  await assertRunsAgain()
  await signalWorker('SIGKILL')
  await delay(200)
  await assertRunsAgain()
})

test('SIGKILL at any moment from its start', async () => {
  for (const afterMs of [0, 5, 20, 50, 80, 100, 120, 150]) {
    const killed = delay(afterMs).then(() => signalWorker('SIGKILL'))
    const { outcome, result } = await run()
    await killed
    await delay(200)
    if (outcome.status === 'ok') assert.is(result, RESULT)
    // Before it was ready there was no worker: that is told as such.
    else if (outcome.status !== 'unavailable') assertDied(outcome)
    if (outcome.status === 'unavailable') await assertRunsAgain()
  }
  await assertRunsAgain()
})

test('nothing is left behind', async () => {
  await sandbox.close()
  assert.equal(await processesBelow(process.pid), [])
  assert.equal(await readdir(spoolDirectory), [])
  collectGarbage()
  await delay(100)
  assert.equal(opened(before, await descriptors()), [], 'descriptors are left')
})

test.run()
