/** Ways to make a directory appear to a consumer, and to take it away; each measured in turn, round by round. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { quantile } from './measure.ts'

export interface Way {
  readonly name: string
  readonly seen: () => boolean
  readonly attach: () => Promise<void> | void
  readonly detach: () => Promise<void> | void
}

export interface Timings {
  readonly name: string
  /** In ms, until the consumer sees it, and until it no longer does; one a round. */
  readonly attach: number[]
  readonly detach: number[]
}

/** The bound on requests is some hundred a second. */
const BETWEEN_MS = 5

/** In turns within each round, so that what else the machine does hits all alike. */
export async function measureWays(rounds: number, ways: readonly Way[]): Promise<Timings[]> {
  const timings = ways.map(({ name }): Timings => ({ name, attach: [], detach: [] }))
  for (let round = 0; round < rounds; round += 1)
    for (const [i, { seen, attach, detach }] of ways.entries()) {
      const begun = performance.now()
      await attach()
      while (!seen());
      const there = performance.now()
      await detach()
      while (seen());
      timings[i]?.attach.push(there - begun)
      timings[i]?.detach.push(performance.now() - there)
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS))
    }
  return timings
}

/** The median over the rounds of what one took to what the other did. */
export function ratioOf(one: readonly number[], other: readonly number[]): number {
  const ratios = one.map((ms, round) => ms / (other[round] ?? Number.NaN))
  return quantile(ratios, 0.5)
}

function run(command: string, ...args: string[]): void {
  const done = spawnSync(command, args)
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${String(done.stderr)}`)
}

/** A mount namespace of its own that follows a shared directory, as a container has it. */
export class Container implements Disposable {
  readonly #shared: string
  readonly #private: string
  readonly #process: ChildProcess

  private constructor(shared: string, own: string, process: ChildProcess) {
    this.#shared = shared
    this.#private = own
    this.#process = process
  }

  static async start(scratch: string): Promise<Container> {
    const [shared, own] = [path.join(scratch, 'shared'), path.join(scratch, 'private')]
    for (const folder of [shared, own]) mkdirSync(folder)
    run('mount', '-t', 'tmpfs', 'insitu-bench', shared)
    run('mount', '--make-shared', shared)
    for (const name of ['at', 'other']) mkdirSync(path.join(shared, name))
    const process = spawn('unshare', ['-m', '--propagation', 'slave', 'sleep', '3600'])
    const container = new Container(shared, own, process)
    await new Promise((resolve) => setTimeout(resolve, 500))
    // Where nobody else sees it.
    container.#inside('mount', '-t', 'tmpfs', '--make-private', 'insitu-bench', own)
    return container
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** A place of its own, as it sees it. */
  get target(): string {
    return path.join(this.#private, 'at')
  }

  #inside(...command: string[]): void {
    run('nsenter', '-t', String(this.pid), '-m', ...command)
  }

  #sees(place: string): boolean {
    return existsSync(path.join('/proc', String(this.pid), 'root', place, 'marker'))
  }

  seesTarget(): boolean {
    return this.#sees(this.target)
  }

  bind(source: string): Way {
    const at = path.join(this.#shared, 'at')
    return {
      name: 'mount --bind, propagated',
      seen: () => this.#sees(at),
      attach: () => run('mount', '--bind', source, at),
      detach: () => run('umount', at),
    }
  }

  nsenter(source: string): Way {
    const at = path.join(this.#shared, 'other')
    return {
      name: 'nsenter and mount --bind',
      seen: () => this.#sees(at),
      attach: () => this.#inside('mount', '--bind', source, at),
      detach: () => this.#inside('umount', at),
    }
  }

  [Symbol.dispose](): void {
    this.#process.kill('SIGKILL')
    spawnSync('umount', ['-l', this.#shared])
  }
}
