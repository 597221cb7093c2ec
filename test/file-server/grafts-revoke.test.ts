/** Revocation, as those see it who are using the graft: real processes that read, write, map, and
 * stand in it. */
import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'

import { type GraftMount, graftSuite } from '../support/graft-mount.ts'

const test = graftSuite('revocation')

/** What each consumer does in the graft, which is its working directory. It prints `ready` when it is
 * at it, and ends by itself with the name of the error that it met. */
const CONSUMER = `
import errno, fcntl, mmap, os, signal, sys, time
signal.alarm(50)
def ready(): print('ready', flush=True)
def loop(step):
    step()
    ready()
    try:
        while True: step()
    except OSError as e: print(errno.errorcode[e.errno], flush=True)
def after_line(*calls):
    ready()
    sys.stdin.readline()
    for call in calls:
        try: print(call(), flush=True)
        except OSError as e: print(errno.errorcode[e.errno], flush=True)
what = sys.argv[1]
if what == 'stand':
    d = os.open('sub', os.O_RDONLY | os.O_DIRECTORY)
    os.stat('file'); os.listdir('.')
    after_line(lambda: os.listdir('.'), lambda: os.stat('.'), lambda: os.stat('file'),
               lambda: os.open('file', os.O_RDONLY), lambda: os.open('new', os.O_WRONLY | os.O_CREAT),
               lambda: os.listdir(d), lambda: os.fstat(d), lambda: os.fsync(d))
    sys.exit()
fd = os.open('file' if len(sys.argv) < 3 else sys.argv[2], os.O_RDWR)
if what == 'read': loop(lambda: os.pread(fd, 4096, 8192))
elif what == 'write': loop(lambda: os.pwrite(fd, b'w' * 4096, 65536))
elif what == 'sync': loop(lambda: os.fsync(fd))
elif what == 'stat': loop(lambda: os.fstat(fd))
elif what == 'map':
    m = mmap.mmap(fd, 0)
    loop(lambda: m[4096])
elif what == 'store':
    m = mmap.mmap(fd, 0)
    def store(): m[8192] = (m[8192] + 1) % 256
    loop(store)
elif what == 'stored':
    m = mmap.mmap(fd, 0)
    m[0:6] = b'stored'
    after_line()
elif what == 'lock':
    fcntl.flock(fd, fcntl.LOCK_EX)
    ready()
    other = os.open('file', os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
elif what == 'hold': after_line(lambda: os.pread(fd, 10, 0))
`

interface Consumer {
  readonly child: ChildProcess
  /** What it printed after `ready`, and the signal that ended it. */
  readonly end: Promise<{ lines: string[]; signal: NodeJS.Signals | null }>
}

async function consume(cwd: string, what: string, file = 'file'): Promise<Consumer> {
  const child = spawn('python3', ['-c', CONSUMER, what, file], {
    cwd,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = new Promise<NodeJS.Signals | null>((resolve) =>
    child.once('exit', (_, signal) => resolve(signal)),
  )
  const lines: string[] = []
  const started = Promise.withResolvers<void>()
  const output = createInterface(child.stdout)
  output.on('line', (line) => (line === 'ready' ? started.resolve() : lines.push(line)))
  const closed = new Promise((resolve) => output.once('close', resolve))
  void exited.then(() => started.reject(new Error(`${what} ended early: ${lines.join()}`)))
  await started.promise
  const end = Promise.all([exited, closed]).then(([signal]) => ({ lines, signal }))
  return { child, end }
}

async function prepared(mount: GraftMount): Promise<{ tree: string; graft: number; at: string }> {
  const tree = mount.tree('tree')
  await fs.mkdir(path.join(tree, 'sub'))
  await fs.writeFile(path.join(tree, 'file'), Buffer.alloc(128 * 1024))
  await fs.writeFile(path.join(tree, 'mapped'), Buffer.alloc(128 * 1024))
  await fs.writeFile(path.join(mount.backing, 'plain'), 'plain')
  const graft = await mount.graft({ name: 'data', backing: tree, revocable: true })
  return { tree, graft, at: path.join(mount.mountPoint, 'data') }
}

test('ends reads, writes, mappings and everything else that goes on in it', async (mount) => {
  const { tree, graft, at } = await prepared(mount)
  const loops = ['read', 'write', 'sync', 'stat', 'map', 'store', 'hold', 'stand'] as const
  const consumers = new Map<string, Consumer>()
  for (const what of loops) consumers.set(what, await consume(at, what))
  await mount.revoke(graft)
  // From here on nothing of it reaches the tree.
  const before = await fs.stat(path.join(tree, 'file'), { bigint: true })
  for (const what of ['hold', 'stand']) consumers.get(what)?.child.stdin?.write('\n')
  for (const [what, { end }] of consumers) {
    const { lines, signal } = await end
    if (what === 'map' || what === 'store') assert.is(signal, 'SIGBUS', what)
    else if (what === 'stand')
      assert.equal(lines, [
        ...Array.from({ length: 8 }, (_, at_) => (at_ === 4 ? lines[4] : 'ESTALE')),
      ])
    else assert.equal(lines, ['ESTALE'], what)
  }
  const after = await fs.stat(path.join(tree, 'file'), { bigint: true })
  assert.is(after.mtimeNs, before.mtimeNs)
  assert.equal((await fs.readdir(tree)).toSorted(), ['file', 'mapped', 'sub'])
  assert.equal(await fs.readdir(mount.backing), ['plain'])
  assert.equal(await fs.readdir(mount.mountPoint), ['plain'])
})

test('what was stored in a mapping before is written', async (mount) => {
  const { tree, graft, at } = await prepared(mount)
  const { child, end } = await consume(at, 'stored', 'mapped')
  await mount.revoke(graft)
  assert.is((await fs.readFile(path.join(tree, 'mapped'))).toString('latin1', 0, 6), 'stored')
  child.stdin?.write('\n')
  await end
})

test('waits for nobody: stopped processes, locks, a listing held half-way', async (mount) => {
  const { graft, at } = await prepared(mount)
  const [stopped, locked, mapped] = [
    await consume(at, 'read'),
    await consume(at, 'lock'),
    await consume(at, 'store', 'mapped'),
  ]
  stopped.child.kill('SIGSTOP')
  mapped.child.kill('SIGSTOP')
  const directory = await fs.opendir(at)
  await directory.read()
  await mount.revoke(graft)
  assert.equal(await fs.readdir(mount.mountPoint), ['plain'])
  await directory.close()
  stopped.child.kill('SIGCONT')
  mapped.child.kill('SIGCONT')
  locked.child.kill('SIGKILL')
  assert.equal((await stopped.end).lines, ['ESTALE'])
  assert.is((await mapped.end).signal, 'SIGBUS')
  await locked.end
})

test('lets go of the tree, which can be unmounted then, and grafted again', async (mount) => {
  const tree = mount.tmpfs('tree')
  await fs.writeFile(path.join(tree, 'file'), 'x')
  const at = path.join(mount.mountPoint, 'data')
  const first = await mount.graft({ name: 'data', backing: tree, revocable: true })
  const handle = await fs.open(path.join(at, 'file'), 'r')
  await mount.revoke(first)
  const { run } = await import('../support/mount-suite.ts')
  const unmounted = await run('umount', [tree])
  assert.is(unmounted.code, 0, unmounted.stderr)
  await fs.writeFile(path.join(tree, 'file'), 'another')
  const second = await mount.graft({ name: 'data', backing: tree, revocable: true })
  assert.is.not(second, first)
  assert.is(await fs.readFile(path.join(at, 'file'), 'utf8'), 'another')
  await handle.read(Buffer.alloc(1), 0, 1, 0).then(
    () => assert.unreachable('an old descriptor reads the new graft'),
    () => undefined,
  )
  await handle.close()
})

test.run()
