/** The daemon is killed while it is written through, and its state directory is removed under it. */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { Mounted, mountObstacle } from '../support/mounted.ts'

const test = suite('faults of the daemon')

/** Writes records, says which are safe, and goes on until that fails. */
const WRITER = `
import os, sys
fd = os.open('records', os.O_RDWR | os.O_CREAT)
at = 0
try:
    while True:
        os.pwrite(fd, b'%015d\\n' % at, at * 16)
        os.fsync(fd)
        print(at, flush=True)
        at += 1
except OSError as error:
    print(os.strerror(error.errno), file=sys.stderr)
`

/** All processes below this one. */
function descendants(pid: number): number[] {
  const children = fs
    .readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' '))
    .filter(Boolean)
    .map(Number)
  return children.flatMap((child) => [child, ...descendants(child)])
}

async function gone(pids: readonly number[]): Promise<number[]> {
  for (let tries = 100; ; tries -= 1) {
    const left = pids.filter((pid) => fs.existsSync(`/proc/${pid}`))
    if (left.length === 0 || tries === 0) return left
    await sleep(50)
  }
}

const obstacle = mountObstacle()
if (obstacle !== undefined) {
  console.log(`SKIP faults of the daemon: ${obstacle}`)
  test('is skipped', () => undefined)
} else {
  test('killed while it is written through', async () => {
    await using mounted = await Mounted.start()
    const { backing, mountPoint } = mounted
    await mounted.sh("echo hello >in; echo \"emit('out', dir.file('in').text())\" >.compute")
    assert.is((await mounted.sh('cat .results/out')).out, 'hello\n')
    const writer = mounted.background(
      `python3 -c "$1"`.replace('"$1"', `'${WRITER.replaceAll("'", '"')}'`),
    )
    let said = ''
    writer.process.stdout?.on('data', (data: Buffer) => (said += data.toString()))
    while (said.split('\n').length < 50) await sleep(10)
    const processes = descendants(mounted.daemonPid)
    assert.ok(processes.length > 0, 'workers run')
    process.kill(mounted.daemonPid, 'SIGKILL')
    const { err, out } = await writer.output
    assert.match(err, /Transport endpoint is not connected|Software caused connection abort/)
    const safe = out.trim().split('\n').length
    const records = fs.readFileSync(path.join(backing, 'records'), 'utf8').split('\n')
    for (let at = 0; at < safe; at += 1) assert.is(records[at], String(at).padStart(15, '0'))
    assert.equal(await gone(processes), [], 'no process is left')

    // Its mount point is free for the next one, which finds programs and results.
    await mounted.mount()
    assert.is((await mounted.sh('cat .results/out')).out, 'hello\n')
    assert.is((await mounted.sh('head -c 16 records')).out, '000000000000000\n')
    const table = execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' })
    assert.is(table.split('\n').filter((line) => line.includes(` ${mountPoint} `)).length, 1)
  })

  test('its state directory is removed', async () => {
    await using mounted = await Mounted.start()
    const attach = `echo hello >in; echo "emit('out', dir.file('in').text())" >.compute; ls .results`
    assert.is((await mounted.sh(attach)).out, 'out\n')
    fs.rmSync(path.join(mounted.state, 'results'), { recursive: true })
    assert.is((await mounted.sh('cat .results/out')).out, 'hello\n')
    fs.rmSync(mounted.state, { recursive: true })
    assert.is((await mounted.sh('cat .results/out')).out, 'hello\n')
    assert.is((await mounted.sh('echo other >in; cat .results/out')).out, 'other\n')
    const big = `mkdir d; echo "emit('big', 'x'.repeat(3e6))" >d/.compute; cat d/.results/big | wc -c`
    assert.is((await mounted.sh(big)).out, '3000000\n')
    assert.match(mounted.log, /stored results are gone: running again/)
  })

  test('unmounted while it is used', async () => {
    await using mounted = await Mounted.start()
    await mounted.sh('echo hello >f')
    const reader = mounted.background(
      'exec 3<f; cat <&3; for i in $(seq 4000); do cat f >/dev/null || break; sleep 0.05; done',
    )
    await new Promise((resolve) => reader.process.stdout?.once('data', resolve))
    await mounted.unmount()
    assert.equal(fs.readdirSync(mounted.mountPoint), [])
    const { err } = await reader.output
    assert.match(
      err,
      /Transport endpoint is not connected|Software caused connection abort|No such file/,
    )
    await mounted.mount()
    assert.is((await mounted.sh('cat f')).out, 'hello\n')
  })
}
test.run()
