/**
 * The whole product on a real mount, for tests that use it as a user does: `insitu mount` runs in a
 * process of its own, and commands run in shells, never in this process's own thread of calls.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite, type Test } from 'uvu'
import { FILE_SERVER, withLimits } from './file-server.ts'

import { preloadedEnvironment } from './preload.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const READY_MS = 60_000

/** Why a real mount cannot be had here; undefined when it can. Fails where REQUIRE_FUSE=1. */
export function mountObstacle(): string | undefined {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch {
    return required('no /dev/fuse that we may open')
  }
  if (process.getuid?.() !== 0) return required('tests with several users need root')
  return undefined
}

function required(obstacle: string): string {
  if (process.env['REQUIRE_FUSE'] === '1') throw new Error(obstacle)
  return obstacle
}

export interface Output {
  /** As the shell sees it; 128 + the signal's number for a death by signal. */
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface ShellOptions {
  readonly uid?: number
  /** The first is the primary one; default the uid's number. */
  readonly groups?: readonly number[]
  readonly cwd?: string
  readonly timeoutMs?: number
}

export interface Shell {
  readonly process: ChildProcess
  readonly output: Promise<Output>
}

export interface MountedOptions {
  /** Libraries that the daemon is started with. */
  readonly preload?: readonly string[]
  readonly arguments?: readonly string[]
}

export class Mounted implements AsyncDisposable {
  /** Holds everything of this mount. */
  readonly base: string
  readonly backing: string
  readonly mountPoint: string
  readonly state: string
  readonly #arguments: readonly string[]
  readonly #preload: readonly string[]
  #daemon: ChildProcess | undefined
  #log = ''

  private constructor(base: string, options: MountedOptions) {
    this.base = base
    this.backing = path.join(base, 'backing')
    this.mountPoint = path.join(base, 'mnt')
    this.state = path.join(base, 'state')
    this.#arguments = options.arguments ?? []
    this.#preload = options.preload ?? []
  }

  static async start(options: MountedOptions = {}): Promise<Mounted> {
    const base = await mkdtemp(path.join(tmpdir(), 'insitu-e2e-'))
    await chmod(base, 0o755) // other users' shells have to get in
    const mounted = new Mounted(base, options)
    try {
      await mkdir(mounted.backing)
      await mkdir(mounted.mountPoint)
      await mounted.mount()
      return mounted
    } catch (error) {
      await mounted[Symbol.asyncDispose]()
      throw error
    }
  }

  async mount(): Promise<void> {
    const { backing, mountPoint, state, base } = this
    const command = [process.execPath, path.join(root, 'src/cli/main.ts'), 'mount']
    const places = [backing, mountPoint, '--state', state]
    const others = FILE_SERVER === 'native' ? ['--allow-other'] : ['--file-server', FILE_SERVER]
    const options = ['--log-level', 'warn', ...others, ...this.#arguments]
    // Whatever becomes of the test, the daemon is told to unmount.
    const args = ['--pdeathsig', 'TERM', ...command, ...places, ...options]
    const daemon = spawn('setpriv', args, {
      env: {
        ...preloadedEnvironment(...this.#preload),
        INSITU_RUNTIME_DIR: path.join(base, 'run'),
        NODE_NO_WARNINGS: '1',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#daemon = daemon
    daemon.stderr.on('data', (data: Buffer) => (this.#log += data.toString()))
    const timeout = setTimeout(() => daemon.kill('SIGKILL'), READY_MS)
    await new Promise<void>((resolve, reject) => {
      daemon.stdout.once('data', () => resolve())
      daemon.once('error', reject)
      daemon.once('exit', () => reject(new Error(`the daemon ended:\n${this.#log}`)))
    }).finally(() => clearTimeout(timeout))
  }

  /** What the daemon logged, warnings and worse. */
  get log(): string {
    return this.#log
  }

  get daemonPid(): number {
    const pid = this.#daemon?.pid
    if (pid === undefined) throw new Error('no daemon runs')
    return pid
  }

  /** Ends the daemon; what is left of the mount is taken away. */
  async unmount(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const daemon = this.#daemon
    if (daemon !== undefined && daemon.exitCode === null && daemon.signalCode === null) {
      const ended = new Promise((resolve) => daemon.once('exit', resolve))
      daemon.kill(signal)
      const timeout = setTimeout(() => daemon.kill('SIGKILL'), 15_000)
      await ended
      clearTimeout(timeout)
    }
    this.#daemon = undefined
    if (signal === 'SIGTERM') return
    await run(['umount', '-l', this.mountPoint], {}).output
  }

  /** A fresh directory for one test. */
  async directory(name: string, mode = 0o755): Promise<string> {
    await mkdir(path.join(this.backing, name))
    await chmod(path.join(this.backing, name), mode)
    return path.join(this.mountPoint, name)
  }

  /** Runs a script in bash, by default at the mount's root. */
  background(script: string, options: ShellOptions = {}): Shell {
    return startShell(script, { cwd: this.mountPoint, ...options })
  }

  sh(script: string, options: ShellOptions = {}): Promise<Output> {
    return this.background(script, options).output
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount()
    // A failed start or a daemon that had to be killed leaves the mount point behind.
    await run(['umount', '-l', this.mountPoint], {}).output
    await rm(this.base, { recursive: true, force: true })
  }
}

export function startShell(script: string, options: ShellOptions & { cwd: string }): Shell {
  const { uid, groups = uid === undefined ? [] : [uid] } = options
  const user =
    uid === undefined
      ? []
      : ['setpriv', '--reuid', `${uid}`, '--regid', `${groups[0]}`, '--groups', groups.join(',')]
  return run([...user, 'bash', '-c', script], options)
}

function run(command: readonly string[], options: ShellOptions): Shell {
  const { cwd = '/', timeoutMs = 60_000 } = options
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, LC_ALL: 'C', HOME: '/nonexistent' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a process group of its own: signals as a terminal sends them
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (data: Buffer) => (out += data.toString()))
  child.stderr.on('data', (data: Buffer) => (err += data.toString()))
  const timeout = setTimeout(() => {
    err += `\n(over ${timeoutMs} ms)`
    signalGroup(child, 'SIGKILL')
  }, timeoutMs)
  const output = new Promise<Output>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timeout)
      const number = signal === null ? 0 : 128 + (SIGNALS[signal] ?? 0)
      resolve({ code: code ?? number, out, err })
    })
  })
  return { process: child, output }
}

const SIGNALS: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGTERM: 15,
}

/** To the shell and everything that it started. */
export function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/**
 * A suite over one mount, with a visible skip where there can be none. Tests keep apart by
 * directories of their own.
 */
export function mountedSuite(
  name: string,
  define: (test: AddTest, mounted: () => Mounted) => void,
  options: MountedOptions = {},
): void {
  const test = suite(name)
  const obstacle = mountObstacle()
  let mounted: Mounted | undefined
  if (obstacle === undefined) {
    test.before(async () => {
      mounted = await Mounted.start(options)
    })
    test.after(async () => {
      await mounted?.[Symbol.asyncDispose]()
    })
    define(limited(test, name), () => {
      if (mounted === undefined) throw new Error('nothing is mounted')
      return mounted
    })
  } else {
    console.log(`SKIP ${name}: ${obstacle}`)
    test('skipped', () => {})
  }
  test.run()
}

export type AddTest = (name: string, body: () => Promise<void> | void) => void

/** For suites that mount by themselves. */
export function limited(test: Test, suiteName: string): AddTest {
  return (name, body) => test(name, withLimits(suiteName, name, body))
}

/** Polls until `condition` holds; a test's own deadline bounds it from above. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
