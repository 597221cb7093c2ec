/** A worker that is killed while it starts, at whatever moment, leaves no process; nor does a daemon. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { NativeProcess } from '../../src/addon/sandbox.ts'
import { findBubblewrap, launchJailed } from '../../src/sandbox/jail.ts'
import { launcherPath } from '../../src/sandbox/jail-tree.ts'

const test = suite('killed while it starts')
/** So many seconds does it sleep, and nobody else. */
const MARK = `600.0${process.pid}`

/** Launcher, bubblewrap and what it forked all have the program's arguments in theirs. */
function left(): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(MARK)
      } catch {
        return false // no process, or gone since
      }
    })
}

test('nothing is left of it', async () => {
  if (findBubblewrap() === undefined) return console.log('SKIP needs bubblewrap')
  for (let turn = 0; turn < 200; turn += 1) {
    const launched = launchJailed({ program: '/usr/bin/sleep', args: [MARK] })
    const { child, socketFd } = launched
    const ended = new Promise((resolve) => child.once('exit', resolve))
    // As a worker is killed: by its own process once that is known, whenever that is.
    let killed = false
    let program: NativeProcess | undefined
    const known = launched.process.then(
      (process) => {
        program = process
        if (killed) process.kill()
      },
      () => undefined,
    )
    // From before the launcher runs until the program does.
    await sleep(turn / 10)
    killed = true
    if (program === undefined) launched.kill()
    else program.kill()
    await ended
    await known
    program?.close()
    closeSync(socketFd)
  }
  await assertNothingLeft()
})

for (const stopped of [false, true])
  test(`nothing is left of it when the daemon is killed${stopped ? ', stopped as it may be' : ''}`, async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      // Its child waits as bubblewrap's does, which asks late to die with its parent.
      const jail = `/usr/bin/sleep ${MARK} & exec /usr/bin/sleep ${MARK}`
      const script = `setsid '${launcherPath}' --parent $$ -- /bin/sh -c '${jail}' & wait`
      const daemon = spawn('/bin/sh', ['-c', script], { stdio: 'ignore' })
      await sleep(turn)
      if (stopped) spawnSync('kill', ['-s', 'STOP', ...left().map(String)])
      daemon.kill('SIGKILL')
      await once(daemon, 'exit')
    }
    // Hit between its fork and what it does first, a watcher is there until somebody continues it.
    if (stopped && (await stillLeft()).length === 1)
      spawnSync('kill', ['-s', 'CONT', ...left().map(String)])
    await assertNothingLeft()
  })

test('nothing begins for a daemon that is dead already', () => {
  const late = spawnSync(launcherPath, ['--parent', '1', '--', '/bin/echo', 'begun'])
  assert.is(String(late.stdout), '')
  assert.is(late.status, 124)
})

async function stillLeft(): Promise<number[]> {
  for (let tries = 0; left().length > 0 && tries < 100; tries += 1) await sleep(20)
  return left()
}

async function assertNothingLeft(): Promise<void> {
  const pids = await stillLeft()
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  assert.equal(pids, [])
}

test.run()
