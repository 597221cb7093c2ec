/** Three users, and inputs that change through the mount. */
import * as assert from 'uvu/assert'
import { suite } from 'uvu'
import { execFile, spawn } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

import { withLimits } from '../support/file-server.ts'
import { whyNoFuse } from '../support/scratch-mount.ts'
import { virtualMount } from '../support/virtual-mount.ts'

const execute = promisify(execFile)
const obstacle = whyNoFuse() ?? (process.getuid?.() === 0 ? undefined : 'needs root')
if (obstacle !== undefined) console.log(`SKIP rights: ${obstacle}`)
const title = 'virtual files: rights and freshness'
const test = suite(title)

function it(name: string, body: () => Promise<void>): void {
  if (obstacle === undefined) test(name, withLimits(title, name, body))
  else test.skip(name, body)
}

/** As a user with one supplementary group; output, or the last line of the complaint. */
async function as(uid: number, cwd: string, script: string): Promise<string> {
  const args = [`--reuid=${uid}`, `--regid=${uid}`, '--groups=7100', 'sh', '-c', script]
  try {
    return (await execute('setpriv', args, { cwd, timeout: 20_000 })).stdout
  } catch (error) {
    return String((error as { stderr?: string }).stderr)
  }
}

it('the opener is known with all groups', async () => {
  await using mount = await virtualMount()
  await fs.chmod(path.dirname(mount.backing), 0o755)
  await fs.chmod(mount.mountPoint, 0o777)
  assert.is(await as(7001, mount.mountPoint, 'echo a=b > .compute'), '')
  const { seen } = await mount.command({})
  assert.ok(seen.includes('opened by 7001:7001:7100'), seen.join(' '))
  await fs.chmod(mount.mountPoint, 0o755)
  assert.match(await as(7002, mount.mountPoint, 'echo a=b > .compute'), /[Pp]ermission denied/)
  assert.match(await as(7002, mount.mountPoint, 'rm -f .compute'), /[Pp]ermission denied/)
})

it('a rename onto .compute gives nobody a file to read', async () => {
  await using mount = await virtualMount()
  await fs.chmod(path.dirname(mount.backing), 0o755)
  await fs.chmod(mount.mountPoint, 0o777)
  await fs.writeFile(path.join(mount.backing, 'secret'), 'x=y\n', { mode: 0o600 })
  assert.match(await as(7001, mount.mountPoint, 'mv secret .compute'), /[Pp]ermission denied/)
  assert.is(await fs.readFile(path.join(mount.backing, 'secret'), 'utf8'), 'x=y\n')
})

it('results are for whom the set says', async () => {
  await using mount = await virtualMount()
  await fs.chmod(path.dirname(mount.backing), 0o755)
  await fs.writeFile(path.join(mount.backing, 'in'), 'hello')
  const { mountPoint } = mount
  await mount.command({ program: 'out=in\n', mode: 0o400, run: true })
  assert.match(await as(7001, mountPoint, 'cat .results/out'), /[Pp]ermission denied/)
  assert.match(await as(7001, mountPoint, 'cat .results/.log'), /[Pp]ermission denied/)
  assert.match(await as(7001, mountPoint, 'ls .results'), /[Pp]ermission denied/)
  assert.is(await as(0, mountPoint, 'cat .results/out'), 'hello')
  await mount.command({ mode: 0o444, run: true })
  assert.is(await as(7001, mountPoint, 'cat .results/out; ls .results'), 'helloout\n')
  assert.match(await as(7001, mountPoint, 'echo rerun > .results/.control'), /[Pp]ermission denied/)
})

it('a store to a mapping through the mount is seen, on both kinds of backing', async () => {
  for (const below of ['/tmp', '/dev/shm']) {
    await using mount = await virtualMount({ below })
    await fs.writeFile(path.join(mount.backing, 'in'), 'a'.repeat(4096))
    await mount.command({ program: 'out=in\n', run: true })
    const { mountPoint } = mount
    const writer = spawn(
      'python3',
      [
        '-c',
        `import mmap,sys
f=open('in','r+b'); m=mmap.mmap(f.fileno(),0); f.close()
for i,_ in enumerate(sys.stdin): m[0]=66+i; print('ok',flush=True)`,
      ],
      { cwd: mountPoint, stdio: ['pipe', 'pipe', 'inherit'] },
    )
    for (const letter of ['B', 'C', 'D', 'E']) {
      const answered = new Promise((resolve) => writer.stdout.once('data', resolve))
      writer.stdin.write('\n')
      await answered
      const out = await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8')
      assert.is(out[0], letter, below)
    }
    writer.stdin.end()
    await new Promise((resolve) => writer.once('exit', resolve))
    await fs.writeFile(path.join(mountPoint, 'in'), 'quiet')
    assert.is(await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8'), 'quiet')
  }
})

it('a log that grows all the time is answered', async () => {
  await using mount = await virtualMount()
  const { mountPoint } = mount
  await fs.writeFile(path.join(mountPoint, 'log'), '0\n')
  await mount.command({ program: 'out=log\n' })
  const writer = spawn(
    'python3',
    [
      '-c',
      `import sys,threading
f=open('log','ab',buffering=0); n=0; stop=False
def wait():
    global stop
    sys.stdin.read(); stop=True
threading.Thread(target=wait).start()
print('ready',flush=True)
while not stop: n+=1; f.write(b'%d\\n'%n)`,
    ],
    { cwd: mountPoint, stdio: ['pipe', 'pipe', 'inherit'] },
  )
  await new Promise((resolve) => writer.stdout.once('data', resolve))
  try {
    let before = 0
    for (let look = 0; look < 10; look += 1) {
      const atLeast = (await fs.stat(path.join(mount.backing, 'log'))).size
      const out = await fs.readFile(path.join(mountPoint, '.results/out'))
      assert.ok(out.length >= atLeast && out.length >= before, 'as long as it was at the look')
      before = out.length
    }
  } finally {
    writer.stdin.end()
    await new Promise((resolve) => writer.once('exit', resolve))
  }
  // Whoever writes elsewhere than at the end is noticed.
  const file = await fs.open(path.join(mountPoint, 'log'), 'r+')
  await file.write('X', 0)
  await file.close()
  assert.is((await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8'))[0], 'X')
})

it('each look sees every write that came before it', async () => {
  for (const exclusive of [false, true]) {
    await using mount = await virtualMount({ exclusive })
    const { mountPoint } = mount
    await fs.writeFile(path.join(mountPoint, 'in'), '0')
    await mount.command({ program: 'out=in\n' })
    for (let round = 1; round <= 100; round += 1) {
      await fs.writeFile(path.join(mountPoint, 'in'), String(round))
      const out = await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8')
      assert.is(out, String(round))
    }
  }
})

test.run()
