/**
 * A process that holds a directory's lock: it lists it into memory whose page never comes. Any user can have a
 * page that does not come (from a FUSE filesystem of his own); root has the shortest way to one.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

const SCRIPT = `
import ctypes, os, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def check(value):
    if value < 0: raise OSError(ctypes.get_errno(), 'userfaultfd')
    return value
faults = check(libc.syscall(323, os.O_CLOEXEC))
api = ctypes.create_string_buffer(struct.pack('QQQ', 0xAA, 0, 0))
check(libc.ioctl(faults, ctypes.c_ulong(0xC018AA3F), api))
libc.mmap.restype = ctypes.c_void_p
page = libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))
region = ctypes.create_string_buffer(struct.pack('QQQQ', page, 4096, 1, 0))
check(libc.ioctl(faults, ctypes.c_ulong(0xC020AA00), region))
directory = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
lister = threading.Thread(daemon=True, target=lambda: libc.syscall(
    217, directory, ctypes.c_void_p(page), ctypes.c_size_t(4096)))
lister.start()
# The fault is there to be read once the lister stands in it.
os.read(faults, 32)
print('held', flush=True)
time.sleep(600)
`

export class DirectoryLock implements AsyncDisposable {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async hold(directory: string): Promise<DirectoryLock> {
    const child = spawn('python3', ['-c', SCRIPT, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [said] = (await Promise.race([
      once(child.stdout, 'data'),
      once(child, 'exit').then(() => ['it ended']),
    ])) as [Buffer | string]
    if (String(said).trim() !== 'held') throw new Error(`no lock is held: ${String(said)}`)
    return new DirectoryLock(child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}
