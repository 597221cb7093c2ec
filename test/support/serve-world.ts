/** A daemon of many tenants in a folder of its own; everything is ended and removed by `close`. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readMountTable } from '../../src/file-server/mount-table.ts'
import { exit, type Finished, INSITU } from './cli.ts'

export interface Served {
  readonly child: ChildProcess
  /** Of the log so far. */
  readonly log: () => string
}

export class ServeWorld {
  readonly scratch: string
  readonly file: string
  readonly state: string
  readonly runtime: string
  readonly #children = new Set<ChildProcess>()

  private constructor(scratch: string) {
    this.scratch = scratch
    this.file = path.join(scratch, 'insitu.yaml')
    this.state = path.join(scratch, 'state')
    this.runtime = path.join(scratch, 'run')
  }

  static async create(): Promise<ServeWorld> {
    const scratch = await mkdtemp(path.join(tmpdir(), 'insitu-serve-'))
    await chmod(scratch, 0o755) // tenants reach their homes
    return new ServeWorld(scratch)
  }

  /** `rest` is the file without state and runtime. */
  async configure(rest: string): Promise<void> {
    await writeFile(this.file, `state: ${this.state}\nruntime: ${this.runtime}\n${rest}`)
  }

  async directory(name: string): Promise<string> {
    const place = path.join(this.scratch, name)
    await mkdir(place, { recursive: true })
    return place
  }

  home(tenant: string): string {
    return path.join(this.runtime, 'homes', tenant)
  }

  /** Of a tenant's endpoint. */
  socket(tenant: string): string {
    return path.join(this.runtime, 'tenants', tenant, 'api.sock')
  }

  /** Resolves once it says that it serves. `descriptors`: the limit that it begins with. */
  async serve(env: Readonly<Record<string, string>> = {}, descriptors?: number): Promise<Served> {
    const limit = descriptors === undefined ? [] : ['prlimit', `--nofile=${descriptors}`]
    const [command, ...args] = [...limit, INSITU] as const
    const child = spawn(
      command,
      [...args, 'serve', '--config', this.file, '--log-level', 'debug'],
      {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    this.#children.add(child)
    let log = ''
    child.stderr.on('data', (data: Buffer) => (log += data.toString()))
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve())
      child.once('error', reject)
      child.once('close', (code, signal) => {
        reject(new Error(`serve ended with ${code ?? signal}: ${log}`))
      })
    })
    return { child, log: () => log }
  }

  /** In a process of its own, so that a wedged mount cannot wedge the test. */
  async run(command: string, args: readonly string[], deadlineMs = 20_000): Promise<Finished> {
    const env = { ...process.env, INSITU_RUNTIME_DIR: this.runtime }
    return await new Promise((resolve) => {
      execFile(command, args, { timeout: deadlineMs, cwd: '/', env }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        resolve({ code, stdout, stderr })
      })
    })
  }

  async insitu(args: readonly string[]): Promise<Finished> {
    return await this.run(INSITU, args)
  }

  /** As that user, in no other group than the one of his number. */
  async shellAs(uid: number, script: string): Promise<Finished> {
    const user = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
    return await this.run('setpriv', [...user, '--', 'sh', '-c', script])
  }

  /** Mount points below the scratch folder, but for those that are held. */
  async mounts(): Promise<string[]> {
    return (await this.#allMounts()).filter((each) => !isHeld(each))
  }

  /**
   * What a daemon that was stopped holds for mount namespaces that show something of a home: those of other
   * tests may, which were made with all that was mounted then.
   */
  async heldMounts(): Promise<string[]> {
    return (await this.#allMounts()).filter(isHeld)
  }

  async #allMounts(): Promise<string[]> {
    const table = await readMountTable()
    return table
      .map(({ mountPoint }) => mountPoint)
      .filter((each) => each.startsWith(`${this.scratch}/`))
      .toSorted()
  }

  async kill({ child }: Served, signal: NodeJS.Signals): Promise<number | null> {
    child.kill(signal)
    const code = await exit(child)
    this.#children.delete(child)
    return code
  }

  async close(): Promise<void> {
    const ended = [...this.#children].map(exit)
    for (const child of this.#children) child.kill('SIGTERM')
    const kill = setTimeout(() => {
      for (const child of this.#children) child.kill('SIGKILL')
    }, 15_000)
    await Promise.all(ended)
    clearTimeout(kill)
    for (const place of (await this.#allMounts()).toReversed())
      await this.run('umount', ['-l', place])
    await rm(this.scratch, { recursive: true, force: true })
  }
}

function isHeld(place: string): boolean {
  return place.endsWith('.held')
}

export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries += 1) {
    if (tries >= 400) throw new Error('it never came to be')
    await sleep(25)
  }
}
