/**
 * Processes of a tenant that use what it was granted: each does one thing, says `ready`, and ends by
 * itself with the name of the error that it met. Others stand and work elsewhere in the mount.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const CONSUMER = `
import errno, mmap, os, signal, sys, time
signal.alarm(100)
def say(*words): print(*words, flush=True)
def name(call):
    try: return call()
    except OSError as e: return errno.errorcode[e.errno]
what, granted = sys.argv[1:3]
def loop(step):
    step()
    say('ready')
    while True:
        step()
        time.sleep(0.002)
def main():
    if what == 'bystander':  # works in the home until it is told to stop
        inode = os.stat('.').st_ino
        kept = os.open('kept', os.O_RDWR)
        mapped = mmap.mmap(kept, 4096)
        os.set_blocking(0, False)
        say('ready')
        rounds = 0
        while True:
            os.pwrite(kept, b'mine', 0)
            seen = (os.pread(kept, 4, 0), mapped[0:4], os.stat('.').st_ino, os.listdir('.'))
            if seen != (b'mine', b'mine', inode, ['kept']): return say('round', rounds, seen)
            rounds += 1
            time.sleep(0.002)
            try:
                if os.read(0, 1) == b'': break
            except BlockingIOError: pass
        say('undisturbed' if rounds > 1 else 'never ran')
        return
    fd = os.open(granted + '/file', os.O_RDWR)
    if what == 'read': loop(lambda: os.pread(fd, 4096, 4096))
    if what == 'write': loop(lambda: os.pwrite(fd, b'w' * 4096, 65536))
    if what == 'map':
        m = mmap.mmap(fd, 0)
        loop(lambda: m[8192])
    if what == 'hold':  # until it is told to let go
        say('ready')
        sys.stdin.readline()
        say(name(lambda: os.pread(fd, 4, 0).decode()))
try: main()
except OSError as e: say(errno.errorcode[e.errno])
`

export interface Consumer {
  readonly child: ChildProcess
  /** What it said after `ready`, and the signal that ended it. */
  readonly end: Promise<string>
}

export interface Consuming {
  readonly uid: number
  /** Where it stands. */
  readonly cwd: string
  readonly granted: string
}

/** Resolves once it is at it. */
export async function consume(
  what: 'read' | 'write' | 'map' | 'hold' | 'bystander',
  { uid, cwd, granted }: Consuming,
): Promise<Consumer> {
  const child = spawn(
    'setpriv',
    [
      ...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--'],
      ...['sh', '-c', 'cd "$1" && shift && exec python3 -c "$@"', 'sh', cwd],
      ...[CONSUMER, what, granted],
    ],
    { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' },
  )
  child.stdin.on('error', () => undefined)
  const lines: string[] = []
  const started = Promise.withResolvers<void>()
  const output = createInterface(child.stdout)
  output.on('line', (line) => (line === 'ready' ? started.resolve() : lines.push(line)))
  const closed = new Promise((resolve) => output.once('close', resolve))
  const exited = new Promise<NodeJS.Signals | null>((resolve) =>
    child.once('exit', (_, signal) => resolve(signal)),
  )
  void exited.then(() => started.reject(new Error(`${what} ended early: ${lines.join()}`)))
  await started.promise
  const end = Promise.all([exited, closed]).then(([signal]) => signal ?? lines.join())
  return { child, end }
}
