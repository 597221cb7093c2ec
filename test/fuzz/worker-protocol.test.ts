/**
 * A worker in the hands of its guest says whatever it likes: sequences of frames that are nearly right,
 * in any order, and of any bytes. Whatever it says, the run has one outcome, that outcome keeps every
 * bound, and no process, descriptor or spool file is left. A failure shrinks, and prints its seed;
 * `SEED=N` repeats it, `INSITU_LONG=1` goes on for longer.
 */
import { closeSync, fstatSync } from 'node:fs'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RunOutcome, Sandbox } from '../../src/sandbox/types.ts'
import { isResultName } from '../../src/worker/protocol.ts'
import { fake, type Peer } from '../sandbox/fake-worker.ts'
import { LIMITS, request, tableInputs, withSandbox } from '../sandbox/sandbox-kit.ts'
import { long } from '../support/long.ts'

const test = suite('a worker’s words')
const timeLimitMs = long ? 240_000 : 6_000
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)

type Said =
  | { readonly header: unknown; readonly tail: string }
  | { readonly bytes: Uint8Array }
  /** Waits for that word of the daemon before it goes on; not for long. */
  | { readonly hear: string }

const count = fc.oneof(
  fc.constantFrom(0, 1, 3, -1, 0.5, 4096, LIMITS.outputBytes + 1, 2 ** 53, 1e300),
  fc.anything(),
)
const text = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'input',
    '',
    '.',
    '..',
    '../../etc/passwd',
    '/etc/passwd',
    'a\0b',
    '\ud800',
  ),
  fc.constantFrom('x'.repeat(255), 'x'.repeat(5_000)),
  fc.string({ unit: 'binary' }),
)
const flag = fc.oneof(fc.boolean(), fc.anything())
const results = fc.oneof(fc.array(fc.tuple(text, count), { maxLength: 6 }), fc.anything())
const guestError = fc.oneof(
  fc.constant(undefined),
  fc.record(
    { name: text, message: text, stack: text, line: count, column: count },
    { requiredKeys: [], noNullPrototype: true },
  ),
  fc.anything(),
)
const header = fc.oneof(
  fc.record({ type: fc.constantFrom('ready', 'next', 'log', 'spool', 'bytes', 'full') }),
  fc.record({ type: fc.constantFrom('open', 'stat', 'list'), path: text }),
  fc.record({ type: fc.constant('over'), limit: fc.constantFrom('output', 'files', 'memory', 7) }),
  fc.record({ type: fc.constant('compiled'), error: guestError, retire: flag }),
  fc.record({ type: fc.constant('results'), results }),
  fc.record({ type: fc.constant('done'), error: guestError, spooled: flag, retire: flag, results }),
  fc.record({ type: fc.constant('done'), spooled: fc.boolean(), retire: fc.boolean(), results }),
  fc.object(),
)
const tail = fc.oneof(fc.constantFrom('', 'x', 'y'.repeat(60_000)), fc.string({ unit: 'binary' }))
/** What an honest worker says, though not necessarily when. */
const honest: fc.Arbitrary<Said> = fc.constantFrom(
  { header: { type: 'open', path: 'a' }, tail: '' },
  { header: { type: 'stat', path: 'none' }, tail: '' },
  { header: { type: 'list', path: '' }, tail: '' },
  { header: { type: 'log' }, tail: 'a line\n' },
  { header: { type: 'spool' }, tail: '' },
  { header: { type: 'results', results: [['a', 1]] }, tail: '' },
  { header: { type: 'results', results: [['b', 0]] }, tail: '' },
  { header: { type: 'bytes' }, tail: 'x' },
)
const said: fc.Arbitrary<Said> = fc.oneof(
  { weight: 20, arbitrary: honest },
  { weight: 12, arbitrary: fc.record({ header, tail }) },
  { weight: 1, arbitrary: fc.record({ bytes: fc.uint8Array({ maxLength: 64 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      hear: fc.constantFrom('opened', 'attributes', 'entries', 'spool', 'refused', 'renew'),
    }),
  },
)
const story = fc.record({
  /** How far it behaves before it does not. */
  behaves: fc.constantFrom('not', 'ready', 'runs', 'runs', 'runs', 'runs'),
  words: fc.array(fc.oneof({ weight: 2, arbitrary: honest }, said), { maxLength: 12 }),
  ends: fc.constantFrom('dies', 'is done', 'is done, spooled'),
})
type Story = typeof story extends fc.Arbitrary<infer T> ? T : never

/** A run that goes well but for what its results say of themselves. */
const size = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom(4_096, LIMITS.outputBytes, LIMITS.outputBytes + 1) },
)
const sizes = fc.oneof(
  { weight: 6, arbitrary: fc.array(size, { minLength: 1, maxLength: 4 }) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(LIMITS.resultFiles, LIMITS.resultFiles + 1)
      .map((length) => Array.from({ length }, () => 0)),
  },
)
const shape = fc.record({ spools: fc.boolean(), sizes, sent: fc.integer({ min: 0, max: 4 }) })
const claims: fc.Arbitrary<Story> = shape.map(({ spools, sizes: told, sent }) => ({
  behaves: 'runs',
  words: [
    ...(spools ? [{ header: { type: 'spool' }, tail: '' }, { hear: 'spool' }] : []),
    { header: { type: 'results', results: told.map((each, n) => [`r${n}`, each]) }, tail: '' },
    ...(sent === 0 ? [] : [{ header: { type: 'bytes' }, tail: 'x'.repeat(sent) }]),
  ],
  ends: spools ? 'is done, spooled' : 'is done',
}))

/** Each frame is a packet: one that is refused at the sender's end (too large) was not said. */
async function tell(peer: Peer, { behaves, words, ends }: Story): Promise<void> {
  if (behaves === 'ready') await peer.becomeReady()
  if (behaves === 'runs') await peer.startRun()
  for (const word of words) {
    if ('hear' in word) await Promise.race([peer.hear(word.hear), nextTurn()])
    else if ('bytes' in word) peer.raw(word.bytes)
    else peer.say(JSON.stringify(word.header) ?? 'undefined', word.tail)
  }
  if (ends !== 'dies') peer.done(ends === 'is done, spooled')
  // A run that waits for more would wait until its time is over.
  setTimeout(() => peer.child.kill('SIGKILL'), 20)
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test(`are believed as far as they can be, seed ${seed}`, async () => {
  const outcomes = new Map<string, number>()
  const property = fc.asyncProperty(fc.oneof(story, claims), async (chosen) => {
    let outcome: RunOutcome | undefined
    let logged = 0
    const use = async (sandbox: Sandbox): Promise<void> => {
      const asked = request('1', {
        inputs: tableInputs({ a: 'aaa', input: 'some' }),
        onLog: (line) => void (logged += Buffer.byteLength(line)),
      })
      outcome = await sandbox.run(asked).outcome
      if (outcome.status === 'ok') closeSpool(outcome)
    }
    const launch = fake(async (peer) => {
      // The channel closes under it when it is killed for what it said.
      await tell(peer, chosen).catch(() => undefined)
    })
    await withSandbox({ idleWorkers: 0, maxWorkers: 1 }, use, launch)
    assert.ok(outcome !== undefined)
    assert.ok(logged <= LIMITS.logBytes)
    if (outcome.status === 'ok') keepsItsBounds(outcome)
    outcomes.set(outcome.status, (outcomes.get(outcome.status) ?? 0) + 1)
  })
  const options = { seed, numRuns: 1_000_000, endOnFailure: false }
  const found = await fc.check(property, { ...options, interruptAfterTimeLimit: timeLimitMs })
  if (found.failed) assert.unreachable(fc.defaultReportMessage(found))
  console.log(
    `seed ${seed}: ${found.numRuns} runs, ${JSON.stringify(Object.fromEntries(outcomes))}`,
  )
  assert.ok(found.numRuns > 5)
})

type Ok = Extract<RunOutcome, { status: 'ok' }>

function keepsItsBounds({ results: found }: Ok): void {
  assert.ok(found.length <= LIMITS.resultFiles)
  assert.is(new Set(found.map(({ name }) => name)).size, found.length, 'a name twice')
  for (const { name } of found) assert.ok(isResultName(name), JSON.stringify(name))
  const sizes = found.map((each) => ('bytes' in each ? each.bytes.length : each.spool.sizeBytes))
  assert.ok(sizes.reduce((sum, size) => sum + size, 0) <= LIMITS.outputBytes)
}

function closeSpool({ spoolFd, results: found }: Ok): void {
  if (spoolFd === undefined) return
  const { size } = fstatSync(spoolFd)
  for (const each of found)
    if ('spool' in each) assert.ok(each.spool.offset + each.spool.sizeBytes <= size)
  closeSync(spoolFd)
}

test.run()
