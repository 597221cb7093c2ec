/** A user namespace with a range of the host's ids, as engines make for a container. Needs root. */
import { spawn, type ChildProcess } from 'node:child_process'
import { readlink, writeFile } from 'node:fs/promises'
import { exit } from './cli.ts'
import { until } from './serve-world.ts'

export class UserNamespace implements AsyncDisposable {
  readonly #holder: ChildProcess

  private constructor(holder: ChildProcess) {
    this.#holder = holder
  }

  /** Its ids 0 … `count` − 1 are those of the host from `first` on. */
  static async create(first: number, count: number): Promise<UserNamespace> {
    const holder = spawn('unshare', ['--user', 'sleep', '600'], { stdio: 'ignore' })
    const of = (pid: number | undefined): Promise<string> => readlink(`/proc/${pid}/ns/user`)
    await until(async () => (await of(holder.pid)) !== (await of(process.pid)))
    for (const kind of ['uid', 'gid'])
      await writeFile(`/proc/${holder.pid}/${kind}_map`, `0 ${first} ${count}\n`)
    return new UserNamespace(holder)
  }

  /** What runs a command as its root, in a mount namespace of its own. */
  get command(): string[] {
    const place = `--user=/proc/${this.#holder.pid}/ns/user`
    return ['nsenter', place, 'unshare', '--mount', '--propagation', 'private']
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder.kill('SIGKILL')
    await exit(this.#holder)
  }
}
