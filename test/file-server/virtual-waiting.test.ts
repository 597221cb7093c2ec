/** Who waits for a run, who never does, and how a wait ends. */
import * as assert from 'uvu/assert'
import { suite } from 'uvu'
import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'

import { withLimits } from '../support/file-server.ts'
import { whyNoFuse } from '../support/scratch-mount.ts'
import { type VirtualMount, virtualMount } from '../support/virtual-mount.ts'

const obstacle = whyNoFuse()
if (obstacle !== undefined) console.log(`SKIP waiting: ${obstacle}`)
const title = 'virtual files: waiting'
const test = suite(title)

function it(name: string, body: () => Promise<void>): void {
  if (obstacle === undefined) test(name, withLimits(title, name, body))
  else test.skip(name, body)
}

/** Nothing here takes that long unless it is stuck. */
const STUCK_MS = 15_000

interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly output: string
}

function start(cwd: string, command: string, ...args: string[]): [ChildProcess, Promise<Ended>] {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  child.stderr.on('data', (data: Buffer) => (output += data.toString()))
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal, output })),
  )
  return [child, ended]
}

/** Runs in the mount; `stuck` when it does not end. */
async function run(cwd: string, script: string): Promise<string> {
  const [child, ended] = start(cwd, 'sh', '-c', script)
  const timer = setTimeout(() => child.kill('SIGKILL'), STUCK_MS)
  const { code, signal, output } = await ended
  clearTimeout(timer)
  return signal === null ? (code === 0 ? output : `exit ${code}: ${output}`) : 'stuck'
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  for (let waited = 0; waited < STUCK_MS; waited += 20) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`never ${what}`)
}

/** Until `count` requests wait in TypeScript. */
async function waiting(mount: VirtualMount, count: number): Promise<void> {
  await until(
    async () => (await mount.command({})).statistics.waiting === count,
    `${count} waiting`,
  )
}

async function held(): Promise<VirtualMount> {
  const mount = await virtualMount()
  await fs.writeFile(path.join(mount.backing, 'in'), 'answer\n')
  await fs.writeFile(path.join(mount.backing, 'other'), 'x')
  await mount.command({ program: 'out=in\nsecond=in\n', resolve: 'hold' })
  return mount
}

it('while readers wait, nobody else does', async () => {
  await using mount = await held()
  const { mountPoint } = mount
  const readers = [
    start(mountPoint, 'cat', '.results/out'),
    start(mountPoint, 'cat', '.results/out'),
    start(mountPoint, 'stat', '-c', '%s', '.results/second'),
    start(mountPoint, 'ls', '.results'),
    start(mountPoint, 'cat', '.results/nothing'),
  ]
  await waiting(mount, readers.length)
  const others = `
    touch new && ls && ls -la . && stat other && cat other && mkdir d && mv new d/moved &&
    echo y >> other && rm d/moved && rmdir d && ln other linked && rm linked && stat . &&
    stat .results && cat .results/.status .results/.error && stat -c %s .results/.log &&
    cat .compute && stat .compute && test -e .query && test ! -e .results/.none && sync -f other`
  const output = await run(mountPoint, others)
  assert.not.match(output, /^(stuck|exit)/)
  // One more who waits does not change that.
  const [late, lateEnded] = start(mountPoint, 'head', '-c', '2', '.results/late')
  await waiting(mount, readers.length + 1)
  assert.not.match(await run(mountPoint, 'touch again && stat other'), /^(stuck|exit)/)
  await mount.command({ resolve: 'run' })
  const [first, second, size, listing, nothing] = await Promise.all(
    readers.map(([, ended]) => ended),
  )
  assert.is(first?.output, 'answer\n')
  assert.is(second?.output, 'answer\n')
  assert.is(size?.output, '7\n')
  assert.is(listing?.output, 'out\nsecond\n')
  assert.match(nothing?.output ?? '', /No such file/)
  assert.is((await lateEnded).code, 1)
  late.kill()
})

it('SIGINT, SIGTERM and SIGKILL end a wait at once', async () => {
  await using mount = await held()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const) {
    for (const [command, ...args] of [
      ['cat', '.results/out'],
      ['stat', '.results/out'],
      ['ls', '.results'],
    ] as const) {
      const [child, ended] = start(mount.mountPoint, command, ...args)
      await waiting(mount, 1)
      child.kill(signal)
      const outcome = await ended
      assert.is(outcome.signal, signal, command)
      await waiting(mount, 0)
    }
  }
  await until(
    async () => (await mount.command({})).seen.includes('resolve aborted'),
    'told to give up',
  ).catch(() => undefined)
})

it('a handled SIGINT ends a wait, SIGWINCH does not', async () => {
  await using mount = await held()
  const [child, ended] = start(
    mount.mountPoint,
    'python3',
    '-c',
    `import signal
signal.signal(signal.SIGWINCH, lambda *_: print('winch', flush=True))
def interrupted(*_): raise SystemExit(7)
signal.signal(signal.SIGINT, interrupted)
print(open('.results/out').read(), end='', flush=True)`,
  )
  await waiting(mount, 1)
  for (let times = 0; times < 3; times += 1) {
    child.kill('SIGWINCH')
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  assert.is((await mount.command({})).statistics.waiting, 1, 'still waiting')
  child.kill('SIGINT')
  assert.is((await ended).code, 7)

  const [, calm] = start(
    mount.mountPoint,
    'python3',
    '-c',
    `import os, signal
signal.signal(signal.SIGWINCH, lambda *_: None)
if os.fork() == 0:
    import time
    time.sleep(0.3)
    os.kill(os.getppid(), signal.SIGWINCH)
    os._exit(0)
print(open('.results/out').read(), end='')`,
  )
  await waiting(mount, 1)
  await new Promise((resolve) => setTimeout(resolve, 600))
  await mount.command({ resolve: 'run' })
  assert.is((await calm).output, 'answer\n')
})

it('an interrupted waiter is told to TypeScript, and its end disturbs nobody', async () => {
  await using mount = await held()
  const [first, firstEnded] = start(mount.mountPoint, 'cat', '.results/out')
  const [, secondEnded] = start(mount.mountPoint, 'cat', '.results/out')
  await waiting(mount, 2)
  await mount.command({})
  first.kill('SIGKILL')
  await firstEnded
  const seen: string[] = []
  await until(async () => {
    seen.push(...(await mount.command({})).seen)
    return seen.includes('resolve aborted')
  }, 'aborted')
  await mount.command({ resolve: 'run' })
  assert.is((await secondEnded).output, 'answer\n')
})

it('an unmount frees who waits', async () => {
  const mount = await held()
  const readers = [
    start(mount.mountPoint, 'cat', '.results/out'),
    start(mount.mountPoint, 'ls', '.results'),
  ]
  await waiting(mount, 2)
  await mount[Symbol.asyncDispose]()
  for (const [, ended] of readers) {
    const { code, output } = await ended
    assert.is.not(code, 0)
    assert.match(output, /not connected|Software caused|Input\/output/)
  }
})

test.run()
