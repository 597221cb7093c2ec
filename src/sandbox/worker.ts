/**
 * One worker process as the daemon sees it: it is told things, what it says is checked, and it dies.
 * Nothing that it does or leaves undone blocks the daemon, and its end is an ordinary event.
 */
import { closeSync, readSync } from 'node:fs'
import { constants } from 'node:os'
import { addon } from '../addon/index.ts'
import type { NativeChannel, NativeProcess } from '../addon/sandbox.ts'
import { decodeFrame, encodeHeader, type FromWorker, type ToWorker } from '../worker/protocol.ts'
import { Cgroup } from './cgroup.ts'
import { checkMessage } from './checks.ts'
import { type Jail, type Launched, launchWorker } from './jail.ts'
import type { LimitName, RunLimits } from './types.ts'

/** From exec to `ready`: 0.1 s on an idle machine; the rest is for a loaded one. */
const LAUNCH_MS = 15_000

/** To make another isolate: milliseconds, and again the rest is for a loaded machine. */
const RENEW_MS = 10_000

/** An idle worker may have grown by this much since its start; one that holds more, by its garbage or
 * by what native code keeps there, is replaced. */
const GROWN_RESIDENT_BYTES = 128 * 1024 * 1024
const GROWN_DATA_BYTES = 512 * 1024 * 1024

/** Frames that wait to be looked at before the worker is made to wait. */
const WAITING_FRAMES = 32

/** Beside what the program may use: the trusted half's own buffers, and thread stacks. */
const MEMORY_SLACK_BYTES = 32 * 1024 * 1024

/** What a worker that is moved to its cgroup early has before any program: Node and its code. */
const CGROUP_SLACK_BYTES = 192 * 1024 * 1024

/** A pipe's whole buffer: what the worker said on its standard error before it died. */
const STDERR_BYTES = 64 * 1024

/** What V8, Node and the C++ library say when an allocation fails. */
const OUT_OF_MEMORY = /out of memory|bad_alloc|Allocation failed|OOM/i

/** A worker whose socket has closed has this long to be dead. */
const DYING_MS = 200

/** How and why a worker ended. */
export type Death =
  | { readonly kind: 'limit'; readonly limit: LimitName; readonly message: string }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'crashed'; readonly message: string }
  /** It had nowhere to put its results. */
  | { readonly kind: 'store-full'; readonly message: string }
  /** It never came to life. */
  | { readonly kind: 'not-launched'; readonly message: string }

export class WorkerDeath extends Error {
  override readonly name = 'WorkerDeath'
  readonly death: Death

  constructor(death: Death) {
    super(`the worker ended: ${death.kind}`)
    this.death = death
  }
}

export interface Heard {
  readonly message: FromWorker
  readonly tail: Buffer
}

export class Worker {
  readonly slot: number
  /** Resolves when nothing is left of the process. */
  readonly gone: Promise<void>
  readonly #launched: Launched
  readonly #stderrFd: number
  readonly #channel: NativeChannel
  #process: NativeProcess | undefined
  readonly #cgroup: Cgroup | undefined
  #limits: RunLimits
  #death: Death | undefined
  #heard: Heard[] = []
  #listener: ((heard: Heard) => void) | undefined
  /** Whoever waits for something learns of the death by these. */
  readonly #mourners = new Set<(death: WorkerDeath) => void>()
  #paused = false
  #baselineBytes = 0
  #baselineDataBytes = 0
  #cpuMs = 0
  #said = ''
  #peakBytes = 0

  /** `limits`: what the isolate that it makes first is for. */
  static launch(this: void, jail: Jail, slot: number, limits: RunLimits): Worker {
    return new Worker(slot, limits, (stderr) => launchWorker(jail, slot, limits, stderr))
  }

  constructor(slot: number, limits: RunLimits, launch: (stderr: number) => Launched) {
    this.slot = slot
    this.#limits = limits
    const [stderrFd, stderrEnd] = addon.sandbox.pipe()
    this.#stderrFd = stderrFd
    try {
      this.#launched = launch(stderrEnd)
    } catch (error) {
      closeSync(stderrFd)
      throw error
    } finally {
      closeSync(stderrEnd)
    }
    this.#cgroup = Cgroup.make(slot)
    const { child, socketFd } = this.#launched
    this.gone = new Promise((resolve) => {
      let done = false
      const exited = (code: number | null, signal: NodeJS.Signals | null): void => {
        if (done) return
        done = true
        this.#readStderr()
        if (!this.dead) this.#end(this.#explain(code, signal))
        this.#process?.close()
        this.#process = undefined
        this.#cgroup?.remove()
        resolve()
      }
      child.once('exit', exited)
      child.once('error', () => exited(null, null))
    })
    this.#channel = new addon.sandbox.Channel(
      socketFd,
      (frame) => this.#hear(frame),
      (why) => this.#lost(why),
    )
  }

  get dead(): boolean {
    return this.#death !== undefined
  }

  /** What its isolate was made for. */
  get limits(): RunLimits {
    return this.#limits
  }

  /** Until it has loaded everything, made an isolate, and locked itself in. */
  async launched(): Promise<void> {
    const timer = setTimeout(
      () => this.#end({ kind: 'not-launched', message: 'a worker did not start in time' }),
      LAUNCH_MS,
    )
    try {
      const process = await this.#launched.process
      if (this.dead) {
        process.kill()
        process.close()
      } else {
        this.#process = process
        this.#cgroup?.add(process.pid)
      }
      await this.#becomeReady()
    } catch (error) {
      if (error instanceof WorkerDeath) throw await this.#explainLaunch(error)
      const message = error instanceof Error ? error.message : String(error)
      throw await this.#explainLaunch(new WorkerDeath(this.#end({ kind: 'not-launched', message })))
    } finally {
      clearTimeout(timer)
    }
  }

  /** Replaces the isolate by a fresh one. */
  async renew(limits: RunLimits): Promise<void> {
    const timer = setTimeout(
      () => this.#end({ kind: 'crashed', message: 'the worker made no new isolate in time' }),
      RENEW_MS,
    )
    try {
      // A new isolate reserves far more than a program may use.
      this.#process?.limit('data', Infinity)
      this.#limits = limits
      this.send({ type: 'renew', limits })
      await this.#becomeReady()
    } finally {
      clearTimeout(timer)
    }
  }

  async #becomeReady(): Promise<void> {
    const { message } = await this.next()
    if (message.type !== 'ready') throw this.violation(`${message.type} came instead of ready`)
    const memory = this.#process?.memory()
    if (memory === undefined || memory.dataBytes === 0) return
    // At its start only: a later number would be what a program made of it.
    if (this.#baselineBytes === 0) {
      this.#baselineBytes = memory.residentBytes
      this.#baselineDataBytes = memory.dataBytes
    }
    this.#process?.limit('data', memory.dataBytes + this.#limits.memoryBytes + MEMORY_SLACK_BYTES)
    this.#process?.limit('fileSize', this.#limits.outputBytes)
    // The spool file may lie in memory.
    const { memoryBytes, outputBytes } = this.#limits
    this.#cgroup?.limit(memoryBytes + outputBytes + CGROUP_SLACK_BYTES)
  }

  /** Holds much more than at its start. */
  grown(): boolean {
    const memory = this.#process?.memory()
    if (memory === undefined || this.#baselineBytes === 0) return false
    return (
      memory.residentBytes > this.#baselineBytes + GROWN_RESIDENT_BYTES ||
      memory.dataBytes > this.#baselineDataBytes + GROWN_DATA_BYTES
    )
  }

  send(message: ToWorker, tail?: Uint8Array, fd = -1): void {
    const header = encodeHeader(message)
    this.#channel.send(tail === undefined ? header : Buffer.concat([header, tail]), fd)
  }

  /** The next thing it says, in order; rejects when it ends first. One caller at a time. */
  next(): Promise<Heard> {
    const heard = this.#heard.shift()
    if (this.#paused && this.#heard.length === 0) {
      this.#paused = false
      this.#channel.resume()
    }
    if (heard !== undefined) return Promise.resolve(heard)
    return this.during(new Promise((resolve) => (this.#listener = resolve)))
  }

  /** `work`, unless the worker ends first: then it rejects, and what `work` brings is dropped. */
  during<T>(work: Promise<T>, drop?: (value: T) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#death !== undefined) reject(new WorkerDeath(this.#death))
      else this.#mourners.add(reject)
      work
        .then((value) => {
          if (this.dead) drop?.(value)
          resolve(value)
        }, reject)
        .finally(() => this.#mourners.delete(reject))
    })
  }

  /** Kills it, unless it is dead; the error says why it died. */
  kill(death: Death): WorkerDeath {
    return new WorkerDeath(this.#end(death))
  }

  /** It said what it must not: kills it. */
  violation(what: string): WorkerDeath {
    return this.kill({ kind: 'crashed', message: `the worker broke the protocol: ${what}` })
  }

  /** Of its whole life; the last known value once it is gone. */
  cpuMs(): number {
    this.#cpuMs = Math.max(this.#cpuMs, this.#process?.cpuMs() ?? 0)
    return this.#cpuMs
  }

  /** Bytes in memory now, at most, and before any program was there. */
  memory(): { residentBytes: number; peakBytes: number; baselineBytes: number } {
    const { residentBytes = 0, peakBytes = 0 } = this.#process?.memory() ?? {}
    this.#peakBytes = Math.max(this.#peakBytes, peakBytes)
    return { residentBytes, peakBytes: this.#peakBytes, baselineBytes: this.#baselineBytes }
  }

  /** The peak counts from here. */
  resetPeak(): void {
    this.#peakBytes = 0
    this.#process?.resetPeak()
  }

  #hear(frame: Buffer): void {
    if (this.dead) return
    const decoded = decodeFrame(frame)
    const message = decoded && checkMessage(decoded.header)
    if (decoded === undefined || message === undefined) {
      this.violation('it sent what is no message')
      return
    }
    const heard = { message, tail: decoded.tail }
    const listener = this.#listener
    if (listener !== undefined) {
      this.#listener = undefined
      listener(heard)
      return
    }
    this.#heard.push(heard)
    if (this.#heard.length >= WAITING_FRAMES && !this.#paused) {
      this.#paused = true
      this.#channel.pause()
    }
  }

  #lost(why: string): void {
    if (why.startsWith('the worker sent')) this.#end({ kind: 'crashed', message: why })
    // The process ends, and how is worth knowing. If it only closed its socket, it is made to.
    else
      setTimeout(
        () => this.#end({ kind: 'crashed', message: 'the worker closed its socket' }),
        DYING_MS,
      ).unref()
  }

  #explain(code: number | null, signal: NodeJS.Signals | null): Death {
    // Bubblewrap ends with 128 + signal in its child's place.
    const number = signal === null ? (code ?? 0) - 128 : constants.signals[signal]
    if (number === constants.signals.SIGXFSZ)
      return { kind: 'limit', limit: 'output', message: 'the worker wrote over the output limit' }
    // Nobody here killed it, so the kernel did, for want of memory.
    if (number === constants.signals.SIGKILL || OUT_OF_MEMORY.test(this.#said))
      return { kind: 'limit', limit: 'memory', message: 'the program used up its memory' }
    if (number === constants.signals.SIGSYS)
      return { kind: 'crashed', message: 'the worker made a forbidden system call' }
    const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
    const how = name === undefined ? `exited with ${code}` : `died of ${name}`
    return { kind: 'crashed', message: `the worker ${how}` }
  }

  #end(death: Death): Death {
    if (this.#death !== undefined) return this.#death
    this.cpuMs()
    this.memory()
    this.#death = death
    this.#channel.close()
    this.#signal()
    this.#heard = []
    this.#listener = undefined
    const mourners = [...this.#mourners]
    this.#mourners.clear()
    for (const reject of mourners) reject(new WorkerDeath(death))
    return death
  }

  #signal(): void {
    // The program itself; bubblewrap notices and ends. Before it is known, bubblewrap takes it along.
    if (this.#process === undefined) this.#launched.kill()
    else this.#process.kill()
  }

  async #explainLaunch(error: WorkerDeath): Promise<WorkerDeath> {
    await this.gone
    const { death } = error
    if (death.kind !== 'crashed' && death.kind !== 'not-launched') return error
    const message = [death.message, lastLine(this.#said)].filter((text) => text !== '').join(': ')
    return new WorkerDeath({ kind: 'not-launched', message })
  }

  /** Once, when it is gone: until then the pipe's buffer bounds what it can say. */
  #readStderr(): void {
    const buffer = Buffer.alloc(STDERR_BYTES)
    try {
      this.#said = buffer.toString('utf8', 0, readSync(this.#stderrFd, buffer))
    } catch {
      // Nothing there.
    }
    closeSync(this.#stderrFd)
  }
}

/** What a failed launcher, bubblewrap or Node said last, fit for one line. */
function lastLine(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const line = lines.find((candidate) => /error|bwrap|launcher/i.test(candidate)) ?? lines.at(-1)
  return (line ?? '').replace(/[^\x20-\x7e]/g, '?').slice(0, 300)
}
