/** A worker that is killed while it starts, at whatever moment, leaves no process. */
import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { findBubblewrap, launchJailed } from '../../src/sandbox/jail.ts'

const test = suite('killed while it starts')
const MARK = `insitu-killed-${process.pid}`

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
    const launched = launchJailed({ program: '/usr/bin/sleep', args: ['60', MARK] })
    const { child, socketFd } = launched
    const ended = new Promise((resolve) => child.once('exit', resolve))
    launched.process.then(
      (process) => process.close(),
      () => undefined,
    )
    // From before the launcher runs until the program does.
    await sleep(turn / 10)
    launched.kill()
    await ended
    closeSync(socketFd)
  }
  for (let tries = 0; left().length > 0 && tries < 100; tries += 1) await sleep(20)
  const pids = left()
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  assert.equal(pids, [])
})

test.run()
