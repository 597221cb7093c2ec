/** Runs the command line as a user would, in a world of its own: places, sockets, state. */
import { spawn, type ChildProcess } from 'node:child_process'
import { access, chmod, constants, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const INSITU = fileURLToPath(new URL('../../bin/insitu', import.meta.url))

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly input?: string
  readonly env?: Readonly<Record<string, string>>
  /** Against a hang; the process is then killed and `code` is null. */
  readonly deadlineMs?: number
}

export interface Started {
  readonly child: ChildProcess
  /** So far, both streams. */
  readonly output: () => string
  readonly says: (text: string) => Promise<void>
}

/** Commands and processes of one test; everything is ended and removed by `close`. */
export class CliWorld {
  readonly scratch: string
  /** A backing directory, empty, and a mount point for it. */
  readonly files: string
  readonly mountPoint: string
  readonly state: string
  readonly #children = new Set<ChildProcess>()

  private constructor(scratch: string) {
    this.scratch = scratch
    this.files = path.join(scratch, 'files')
    this.mountPoint = path.join(scratch, 'mount')
    this.state = path.join(scratch, 'state')
  }

  static async create(): Promise<CliWorld> {
    const world = new CliWorld(await mkdtemp(path.join(tmpdir(), 'insitu-cli-')))
    await mkdir(world.files)
    await mkdir(world.mountPoint)
    return world
  }

  get env(): Record<string, string> {
    return {
      ...(process.env as Record<string, string>),
      INSITU_RUNTIME_DIR: path.join(this.scratch, 'run'),
    }
  }

  /** `insitu ARGS`. */
  async insitu(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return await this.run(INSITU, args, options)
  }

  async run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    const child = spawn(command, args, {
      cwd: options.cwd ?? this.scratch,
      env: { ...this.env, ...options.env },
    })
    this.#children.add(child)
    const [out, err] = [collect(child.stdout), collect(child.stderr)]
    child.stdin.on('error', () => {}) // it may end without reading
    child.stdin.end(options.input ?? '')
    const timer = setTimeout(() => child.kill('SIGKILL'), options.deadlineMs ?? 60_000)
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    clearTimeout(timer)
    this.#children.delete(child)
    return { code, stdout: out(), stderr: err() }
  }

  /** `insitu mount` in the foreground; resolves once it says that it is ready. */
  async mount(args: readonly string[] = []): Promise<ChildProcess> {
    const child = spawn(
      INSITU,
      ['mount', this.files, this.mountPoint, '--state', this.state, ...args],
      { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    this.#children.add(child)
    const err = collect(child.stderr)
    await new Promise<void>((resolve, reject) => {
      child.stdout.on('data', (data: Buffer) => {
        if (data.includes('is mounted at')) resolve()
      })
      child.once('error', reject)
      child.once('close', (code) => reject(new Error(`mount ended with ${code}: ${err()}`)))
    })
    return child
  }

  /** A command that goes on until it is ended; `says` waits until that is all its output. */
  start(args: readonly string[]): Started {
    const child = spawn(INSITU, args, { env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#children.add(child)
    const out = collect(child.stdout, child.stderr)
    const says = async (text: string): Promise<void> => {
      while (out() !== text) {
        if (child.exitCode !== null) throw new Error(`ended after ${JSON.stringify(out())}`)
        await sleep(20)
      }
    }
    return { child, output: out, says }
  }

  /** Lets other users reach what is inside. */
  async allowEveryone(): Promise<void> {
    for (const folder of [this.scratch, this.files, this.mountPoint]) await chmod(folder, 0o755)
  }

  async close(): Promise<void> {
    // Whatever state a failed test left: our own mount point, lazily, and our own processes.
    await this.run('umount', ['--lazy', '--quiet', this.mountPoint], { cwd: '/' })
    const ended = [...this.#children].map(exit)
    for (const child of this.#children) child.kill('SIGTERM')
    const kill = setTimeout(() => {
      for (const child of this.#children) child.kill('SIGKILL')
    }, 10_000)
    await Promise.all(ended)
    clearTimeout(kill)
    await rm(this.scratch, { recursive: true, force: true })
  }
}

/** Resolves with the exit code, null for a signal; also when it ended before. */
export async function exit(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  return await new Promise((resolve) => {
    child.once('exit', resolve)
  })
}

/** False, with a visible word, where nothing can be mounted; a failure where that is required. */
export async function canMount(what: string): Promise<boolean> {
  const usable = await access('/dev/fuse', constants.R_OK | constants.W_OK).then(
    () => process.getuid?.() === 0,
    () => false,
  )
  if (usable) return true
  if (process.env['REQUIRE_FUSE'] === '1') throw new Error(`${what} need root and /dev/fuse`)
  console.log(`SKIP ${what}: they need root and /dev/fuse`)
  return false
}

function collect(...streams: (NodeJS.ReadableStream | null)[]): () => string {
  const chunks: Buffer[] = []
  for (const stream of streams) stream?.on('data', (chunk: Buffer) => chunks.push(chunk))
  return () => Buffer.concat(chunks).toString('utf8')
}
