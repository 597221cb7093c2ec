/**
 * Locks of a mount with `sharedBacking`: they hold against whoever locks in the backing directory.
 * The oracle is a second place of the same files: the backing directory itself, or another mount.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { mountSuite, run } from '../support/mount-suite.ts'
import { type ScratchMount, type ScratchMountOptions, serveAt } from '../support/scratch-mount.ts'

const test = mountSuite('locks that reach the backing directory')
const shared: ScratchMountOptions = { sharedBacking: true }

/** What every script below starts with: `here` and `there` are two places of one file. */
const prelude = `
import errno, fcntl, os, signal, struct, subprocess, sys, threading, time
here, there = sys.argv[1], sys.argv[2]
EX, SH, UN, NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB
def opened(path): return os.open(path, os.O_RDWR)
def tried(lock):
  try:
    lock()
    return 'locked'
  except OSError as error: return errno.errorcode[error.errno]
def soon(attempt):
  'The kernel tells of the last close of an open file a little later.'
  for _ in range(200):
    if attempt() == 'locked': return 'locked'
    time.sleep(0.05)
  return 'never'
def record(type, start, length): return struct.pack('hhqqi4x', type, 0, start, length, 0)
def ofd(fd, type, start=0, length=0): return fcntl.fcntl(fd, 37, record(type, start, length))
def in_child(body):
  'What body() says in a process of its own.'
  reader, writer = os.pipe()
  if os.fork() == 0:
    try: os.write(writer, str(body()).encode())
    finally: os._exit(0)
  os.close(writer)
  said = b''
  while True:
    piece = os.read(reader, 100)
    if not piece: break
    said += piece
  os.close(reader)
  os.wait()
  return said.decode()
`

async function says(mount: ScratchMount, script: string, there = mount.backing): Promise<string> {
  writeFileSync(path.join(mount.backing, 'f'), '0123456789')
  const places = [mount.mountPoint, there].map((place) => path.join(place, 'f'))
  const done = await run('python3', ['-c', prelude + script, ...places])
  assert.is(done.code, 0, done.stderr)
  return done.stdout.trim()
}

const excludes = `
a, b = opened(here), opened(there)
def of(fd, how, start=0, length=0): return in_child(lambda: tried(lambda: fcntl.lockf(fd, how | NB, length, start)))
fcntl.lockf(a, EX, 3, 2)
print(of(b, EX), of(b, EX, 0, 2), of(b, SH, 4, 1), of(b, EX, 5, 0))
fcntl.lockf(a, UN, 3, 2)
print(of(b, EX))
fcntl.lockf(a, SH)
print(of(b, SH), of(b, EX))
os.close(a)
print(of(b, EX))
a = opened(here)
fcntl.flock(a, EX)
print(tried(lambda: fcntl.flock(b, SH | NB)))
fcntl.flock(a, SH)
print(tried(lambda: fcntl.flock(b, SH | NB)), tried(lambda: fcntl.flock(b, EX | NB)))
os.close(a)
print(soon(lambda: tried(lambda: fcntl.flock(b, EX | NB))))
`
const excluded = [
  'EAGAIN locked EAGAIN locked',
  'locked',
  'locked EAGAIN',
  'locked',
  'EAGAIN',
  'locked EAGAIN',
  'locked',
].join('\n')

test(
  'fcntl and flock exclude others in the backing directory',
  async (mount) => assert.is(await says(mount, excludes), excluded),
  shared,
)

test(
  'others in the backing directory exclude us',
  async (mount) => {
    const swapped = `here, there = there, here\n${excludes}`
    assert.is(await says(mount, swapped), excluded)
  },
  shared,
)

test(
  'two mounts of one directory exclude each other',
  async (mount) => {
    const second = path.join(mount.scratch, 'second')
    mkdirSync(second)
    const other = await serveAt(mount.backing, second, shared)
    try {
      assert.is(await says(mount, excludes, second), excluded)
    } finally {
      await other.close()
    }
  },
  shared,
)

test('without the option locks are the mount’s own', async (mount) => {
  const script = `
a, b = opened(here), opened(there)
fcntl.lockf(a, EX)
print(in_child(lambda: tried(lambda: fcntl.lockf(b, EX | NB))))
`
  assert.is(await says(mount, script), 'locked')
})

test(
  'a process’s locks go with any close of the file, those of an open file with its last',
  async (mount) => {
    const script = `
def other(lock): return in_child(lambda: tried(lambda: lock(opened(there))))
a, b = opened(here), opened(here)
fcntl.lockf(a, EX)
os.close(b)
print(other(lambda fd: fcntl.lockf(fd, EX | NB)))
a, b = opened(here), opened(here)
ofd(a, fcntl.F_WRLCK)
copy = os.dup(a)
os.close(b)
os.close(a)
print(other(lambda fd: ofd(fd, fcntl.F_WRLCK)))
os.close(copy)
print(soon(lambda: other(lambda fd: ofd(fd, fcntl.F_WRLCK))))
`
    assert.is(await says(mount, script), 'locked\nEAGAIN\nlocked')
  },
  shared,
)

test(
  'asking names the range and the process that holds it',
  async (mount) => {
    const script = `
a = opened(here)
fcntl.lockf(a, EX, 3, 2)
def ask():
  type, _, start, length, pid = struct.unpack('hhqqi4x', fcntl.fcntl(opened(here), fcntl.F_GETLK, record(fcntl.F_WRLCK, 0, 0)))
  return (type == fcntl.F_WRLCK, start, length, pid == os.getppid())
print(in_child(ask))
print(in_child(lambda: struct.unpack('hhqqi4x', fcntl.fcntl(opened(here), fcntl.F_GETLK, record(fcntl.F_WRLCK, 6, 1)))[0] == fcntl.F_UNLCK))
`
    assert.is(await says(mount, script), '(True, 2, 3, True)\nTrue')
  },
  shared,
)

test(
  'a killed holder’s locks go, and who waits for them gets them',
  async (mount) => {
    const script = `
def hold(lock):
  reader, writer = os.pipe()
  child = os.fork()
  if child == 0:
    lock(opened(here))
    os.write(writer, b'x')
    signal.pause()
  os.read(reader, 1)
  return child
for lock in (lambda fd: fcntl.lockf(fd, EX), lambda fd: fcntl.flock(fd, EX), lambda fd: ofd(fd, fcntl.F_WRLCK)):
  child = hold(lock)
  threading.Timer(0.2, lambda: os.kill(child, signal.SIGKILL)).start()
  lock2 = opened(here)
  fcntl.lockf(lock2, EX) if lock.__code__.co_names[-1] != 'flock' else fcntl.flock(lock2, EX)
  os.close(lock2)
  os.waitpid(child, 0)
  print('got it')
`
    assert.is(await says(mount, script), 'got it\ngot it\ngot it')
  },
  shared,
)

test(
  'signals end waits; many waiters keep nobody from the files',
  async (mount) => {
    const script = `
a = opened(there)
fcntl.flock(a, EX)
fcntl.lockf(a, EX)
class Woken(Exception): pass
def handler(*_): raise Woken()
def alarmed(wait):
  signal.signal(signal.SIGALRM, handler)
  signal.setitimer(signal.ITIMER_REAL, 0.2)
  try:
    wait(opened(here))
    return 'locked'
  except Woken: return 'woken'
for wait in (lambda fd: fcntl.flock(fd, EX), lambda fd: fcntl.lockf(fd, EX)):
  print(in_child(lambda: alarmed(wait)))
waiters = []
for i in range(40):
  child = os.fork()
  if child == 0:
    fcntl.lockf(opened(here), EX)
    os._exit(0)
  waiters.append(child)
time.sleep(0.3)
with open(here + '2', 'w') as file: file.write('free')
print(open(there + '2').read())
for child in waiters[:20]: os.kill(child, signal.SIGKILL)
killed = [os.waitpid(child, 0)[1] for child in waiters[:20]]
fcntl.lockf(a, UN)
rest = [os.waitpid(child, 0)[1] for child in waiters[20:]]
print(set(killed), set(rest))
`
    assert.is(await says(mount, script), 'woken\nwoken\nfree\n{9} {0}')
  },
  shared,
)

test(
  'an unmount ends waits',
  async (mount) => {
    const script = `
a = opened(there)
fcntl.flock(a, EX)
b = opened(here)
open(there + '.waits', 'w').close()
print(tried(lambda: fcntl.flock(b, EX)) != 'locked')
`
    const waiting = says(mount, script)
    while (!existsSync(path.join(mount.backing, 'f.waits')))
      await new Promise((resolve) => setTimeout(resolve, 50))
    await new Promise((resolve) => setTimeout(resolve, 200))
    await mount.close()
    assert.is(await waiting, 'True')
  },
  shared,
)

test.run()
