/**
 * A worker that is in the hands of its guest: it says what a scenario says. The process behind it only
 * sleeps, so that there is something to kill; the words come from the test's own thread.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { addon } from '../../src/addon/index.ts'
import type { NativeChannel } from '../../src/addon/sandbox.ts'
import { Worker } from '../../src/sandbox/worker.ts'
import type { Launch } from './sandbox-kit.ts'

export type Scenario = (peer: Peer) => Promise<void>

/** The worker's side of the socket. */
export class Peer {
  readonly child: ChildProcess
  readonly channel: NativeChannel
  #types: string[] = []
  #wake: () => void = () => undefined

  constructor(child: ChildProcess, fd: number) {
    this.child = child
    this.channel = new addon.sandbox.Channel(
      fd,
      (frame) => {
        const json = frame.toString('utf8', 4, 4 + frame.readUInt32LE(0))
        this.#types.push((JSON.parse(json) as { type: string }).type)
        this.#wake()
      },
      () => undefined,
    )
  }

  raw(bytes: Uint8Array, fd?: number): void {
    this.channel.send(bytes, fd)
  }

  /** A text is sent as the header as it is. */
  say(header: unknown, tail = ''): void {
    const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(json.length)
    this.raw(Buffer.concat([length, json, Buffer.from(tail)]))
  }

  /** Until the daemon says that; never, if it does not. */
  async hear(type: string): Promise<void> {
    for (;;) {
      const heard = this.#types.shift()
      if (heard === type) return
      if (heard === undefined) await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  /** Up to where a program was asked for. */
  async becomeReady(): Promise<void> {
    this.say({ type: 'ready' })
    await this.hear('load')
  }

  /** Up to where the program is to run. */
  async startRun(): Promise<void> {
    await this.becomeReady()
    this.say({ type: 'compiled', retire: false })
    await this.hear('run')
  }

  done(spooled = false): void {
    this.say({ type: 'done', spooled, retire: false, results: [] })
  }
}

/** Starts such workers in place of real ones. */
export function fake(scenario: Scenario): Launch {
  return (_jail, slot, limits) =>
    new Worker(slot, limits, (stderr) => {
      const [socketFd, workerEnd] = addon.sandbox.socketPair()
      const child = spawn('sleep', ['infinity'], { stdio: ['ignore', 'ignore', stderr] })
      if (child.pid === undefined) {
        closeSync(workerEnd)
        closeSync(socketFd)
        throw new Error('sleep does not start')
      }
      const peer = new Peer(child, workerEnd)
      child.once('exit', () => peer.channel.close())
      void scenario(peer)
      const process = Promise.resolve(new addon.sandbox.Process(child.pid, 0))
      return { child, socketFd, process, kill: () => void child.kill('SIGKILL') }
    })
}
