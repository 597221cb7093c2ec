/** A hostile worker's frames: the daemon stays, the run is `crashed` or over a limit, nothing is left. */
import { openSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { RunOutcome, RunRequest, Sandbox } from '../../src/sandbox/types.ts'
import { fake, type Peer, type Scenario } from './fake-worker.ts'
import { descriptors, LIMITS, request, resultsOf, withSandbox } from './sandbox-kit.ts'

const test = suite('sandbox: protocol')

async function play(scenario: Scenario, more: Partial<RunRequest> = {}): Promise<RunOutcome> {
  let outcome: RunOutcome | undefined
  const use = async (sandbox: Sandbox): Promise<void> => {
    outcome = await sandbox.run(request('1', more)).outcome
  }
  await withSandbox({ idleWorkers: 0, maxWorkers: 1 }, use, fake(scenario))
  if (outcome === undefined) throw new Error('no outcome')
  return outcome
}

function crashed(outcome: RunOutcome, says: RegExp): void {
  assert.is(outcome.status, 'crashed', JSON.stringify(outcome))
  assert.match(outcome.status === 'crashed' ? outcome.message : '', says)
}

test('the fake worker can behave', async () => {
  const scenario: Scenario = async (peer) => {
    await peer.startRun()
    peer.say({ type: 'results', results: [['a', 1]] })
    peer.say({ type: 'bytes' }, 'x')
    peer.done()
  }
  assert.equal(resultsOf(await play(scenario)), { a: 'x' })
})

const whileRunning = [
  'null',
  '[]',
  '7',
  '"done"',
  '{}',
  '{"type":"no such"}',
  '{"type":["done"]}',
  '{"type":"__proto__"}',
  '{"type":"open"}',
  '{"type":"open","path":7}',
  `{"type":"open","path":"${'x'.repeat(5_000)}"}`,
  '{"type":"stat","path":null}',
  '{"type":"next"}',
  '{"type":"ready"}',
  '{"type":"compiled","retire":false}',
  '{"type":"over","limit":"patience"}',
  '{"type":"done"}',
  '{"type":"done","spooled":"no","retire":false}',
  '{"type":"done","spooled":false,"retire":false,"error":"text"}',
  '{"type":"done","spooled":false,"retire":false,"error":{"name":"E"}}',
  '{"type":"done","spooled":false,"retire":false,"error":{"name":"E","message":"m","stack":"s","line":-1}}',
  `{"type":"done","spooled":false,"retire":false,"error":{"name":"E","message":"${'m'.repeat(9_000)}","stack":""}}`,
  '{"type":"results","results":{}}',
  '{"type":"results","results":[["a"]]}',
  '{"type":"results","results":[["a",-1]]}',
  '{"type":"results","results":[["a",1e300]]}',
  '{"type":"results","results":[["a",0.5]]}',
  '{"type":"results","results":[["",1]]}',
  '{"type":"results","results":[[".hidden",1]]}',
  '{"type":"results","results":[["../up",1]]}',
  '{"type":"results","results":[["a/b",1]]}',
  '{"type":"results","results":[["a\\u0000b",1]]}',
  '{"type":"results","results":[["\\ud800",1]]}',
  `{"type":"results","results":[["${'x'.repeat(256)}",1]]}`,
  '{"type":"results","results":[["a",1],["a",1]]}',
  '{"type":"bytes"}',
]
/** Starts as it should, then does that. */
function run(then: (peer: Peer) => unknown): Scenario {
  return async (peer) => {
    await peer.startRun()
    await then(peer)
  }
}

for (const text of whileRunning)
  test(`says ${text.slice(0, 90)}`, async () => {
    crashed(await play(run((peer) => peer.say(text))), /protocol/)
  })

test('says that it is done when it was to compile', async () => {
  const scenario: Scenario = async (peer) => {
    await peer.becomeReady()
    peer.done()
  }
  crashed(await play(scenario), /protocol/)
})

for (const hex of ['00', 'ffffffff', '02000000', '01000000ff', '050000007b7d', 'fcffff7f7b7d'])
  test(`sends the bytes ${hex}`, async () => {
    crashed(await play(run((peer) => peer.raw(Buffer.from(hex, 'hex')))), /protocol/)
  })

test('sends a descriptor: it is not taken, and that is the end', async () => {
  const fd = openSync('/dev/null', 'r')
  const before = descriptors().length
  const scenario = run((peer) => peer.raw(Buffer.from('020000007b7d', 'hex'), fd))
  crashed(await play(scenario), /descriptor/)
  assert.is(descriptors().length, before - 1, 'only the one that was sent is gone')
})

for (const size of [0, 1, 60_000])
  test(`floods its log with frames of ${size} bytes`, async () => {
    let logged = 0
    const onLog = (text: string): void => void (logged += text.length)
    const scenario = run((peer) => {
      for (let i = 0; i < 30_000 && i * size < 10_000_000; i += 1)
        peer.say({ type: 'log' }, 'x'.repeat(size))
    })
    crashed(await play(scenario, { onLog }), /floods/)
    assert.ok(logged <= LIMITS.logBytes)
  })

test('asks without end, and is not heard while it is answered', async () => {
  let now = 0
  let most = 0
  const stat = async (): Promise<{ kind: string; sizeBytes: number; mtimeNs: bigint }> => {
    now += 1
    most = Math.max(most, now)
    await new Promise((resolve) => setImmediate(resolve))
    now -= 1
    return { kind: 'file', sizeBytes: 0, mtimeNs: 0n }
  }
  const inputs = { ...request('').inputs, stat }
  const scenario = run((peer) => {
    for (let i = 0; i <= LIMITS.inputs; i += 1) peer.say({ type: 'stat', path: 'x' })
  })
  const outcome = await play(scenario, { inputs })
  assert.is(outcome.status === 'over-limit' && outcome.limit, 'inputs', JSON.stringify(outcome))
  assert.is(most, 1)
})

test('names more results than it may', async () => {
  const scenario = run((peer) => {
    for (let i = 0; i <= LIMITS.resultFiles; i += 1)
      peer.say({ type: 'results', results: [[`n${i}`, 0]] })
  })
  const outcome = await play(scenario)
  assert.is(outcome.status === 'over-limit' && outcome.limit, 'files')
})

const silent: [string, Scenario][] = [
  ['never answers', (peer) => peer.becomeReady()],
  [
    'never reads',
    async (peer) => {
      peer.say({ type: 'ready' })
      peer.channel.pause()
    },
  ],
]
for (const [name, scenario] of silent)
  test(name, async () => {
    const limits = { ...LIMITS, wallMs: 300, programBytes: 4_000_000 }
    const outcome = await play(scenario, { limits, source: Buffer.alloc(4_000_000, 0x20) })
    assert.is(outcome.status === 'over-limit' && outcome.limit, 'wall', JSON.stringify(outcome))
  })

test('closes its socket and lives', async () => {
  crashed(await play(run((peer) => peer.channel.close())), /closed its socket/)
})

for (const signal of ['SIGSEGV', 'SIGABRT', 'SIGTERM'] as const)
  test(`dies of ${signal}`, async () => {
    const outcome = await play(run((peer) => peer.child.kill(signal)))
    crashed(outcome, new RegExp(`died of ${signal}`))
  })

test('dies of SIGSYS', async () => {
  crashed(await play(run((peer) => peer.child.kill('SIGSYS'))), /forbidden system call/)
})

test('is killed by the kernel for want of memory', async () => {
  const outcome = await play(run((peer) => peer.child.kill('SIGKILL')))
  assert.is(outcome.status === 'over-limit' && outcome.limit, 'memory', JSON.stringify(outcome))
})

test('ends before it is ready: programs are unavailable', async () => {
  const outcome = await play(async (peer) => void peer.child.kill('SIGTERM'))
  assert.is(outcome.status, 'unavailable', JSON.stringify(outcome))
})

const lies: [string, (peer: Peer) => unknown, RegExp][] = [
  [
    'claims a spool file that it never wrote',
    (peer) => {
      peer.say({ type: 'spool' })
      peer.say({ type: 'results', results: [['a', 100]] })
      peer.done(true)
    },
    /shorter/,
  ],
  [
    'claims a spool file that there is not',
    (peer) => {
      peer.say({ type: 'results', results: [['a', 100]] })
      peer.done(true)
    },
    /shorter/,
  ],
  [
    'asks for two spool files',
    (peer) => {
      peer.say({ type: 'spool' })
      peer.say({ type: 'spool' })
    },
    /second spool/,
  ],
  [
    'sends results of another size',
    (peer) => {
      peer.say({ type: 'results', results: [['a', 5]] })
      peer.say({ type: 'bytes' }, 'xy')
      peer.done()
    },
    /sizes/,
  ],
  [
    'sends more inline than fits',
    (peer) => {
      for (let i = 0; i < 10; i += 1) peer.say({ type: 'bytes' }, 'x'.repeat(60_000))
    },
    /fit/,
  ],
]
for (const [name, lie, says] of lies)
  test(name, async () => {
    crashed(await play(run(lie)), says)
  })

test('a worker that leaves after it was done has done it', async () => {
  const scenario = run((peer) => {
    peer.done()
    peer.child.kill('SIGTERM')
  })
  assert.equal(resultsOf(await play(scenario)), {})
})

test('makes no new isolate after its run: it is ended, and others are served', async () => {
  let started = 0
  const scenario: Scenario = async (peer) => {
    started += 1
    await peer.startRun()
    peer.done()
  }
  const use = async (sandbox: Sandbox): Promise<void> => {
    const first = await sandbox.run(request('1')).outcome
    assert.is(first.status, 'ok')
    const second = await sandbox.run(request('1')).outcome
    assert.is(second.status, 'ok', JSON.stringify(second))
    assert.is(started, 2)
  }
  await withSandbox({ idleWorkers: 0, maxWorkers: 1 }, use, fake(scenario))
})

test.run()
