/** The worker's end of the protocol: blocking, one question at a time, on the main thread. */
import { closeSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { type Host, HostError, type HostFile } from './host.ts'
import {
  decodeFrame,
  encodeHeader,
  type FromWorker,
  INLINE_BYTES,
  isResultName,
  type Kind,
  TAIL_BYTES,
  type ToWorker,
} from './protocol.ts'
import type { RunLimits } from '../sandbox/types.ts'

interface Native {
  send(fd: number, header: Uint8Array, tail: Uint8Array | undefined): void
  receive(fd: number): { frame: Buffer; fd: number }
  lock(): void
  limitThreads(count: number): void
}

/** Found at the same place from `src` and from `dist`. */
export const native = (
  createRequire(import.meta.url)('../../native/build/Release/worker.node') as { channel: Native }
).channel

/** Where the daemon leaves the socket. */
const SOCKET_FD = 3

/** Log lines are gathered for this long: a flood costs twenty frames a second. */
const LOG_INTERVAL_MS = 50

export interface Received {
  readonly message: ToWorker
  readonly tail: Buffer
  /** -1: none. */
  readonly fd: number
}

export function send(message: FromWorker, tail?: Uint8Array): void {
  native.send(SOCKET_FD, encodeHeader(message), tail)
}

/** Waits for the daemon; throws when it is gone. */
export function receive(): Received {
  const { frame, fd } = native.receive(SOCKET_FD)
  const decoded = decodeFrame(frame)
  if (decoded === undefined) throw new Error('the daemon sent no frame')
  return { message: decoded.header as ToWorker, tail: decoded.tail, fd }
}

/** What a run's last frame holds of its results; an error's text may stand there too. */
const LAST_WORD_BYTES = 16 * 1024

type Result = [name: string, sizeBytes: number]

export interface Ending {
  readonly spooled: boolean
  readonly results: readonly Result[]
  readonly bytes: Uint8Array | undefined
}

/** One run's Host over the socket. */
export class SocketHost implements Host {
  readonly #limits: RunLimits
  readonly #names = new Set<string>()
  readonly #results: Result[] = []
  #outputBytes = 0
  /** Results so far, while they are small. */
  #inline: Buffer[] = []
  #spool = -1
  #log: string[] = []
  #logChars = 0
  #logBytes = 0
  #loggedAt = -Infinity

  constructor(limits: RunLimits) {
    this.#limits = limits
  }

  open(path: string): HostFile {
    const { message, fd } = this.#ask({ type: 'open', path })
    if (message.type !== 'opened') throw outOfStep(message)
    if (fd < 0) throw noDescriptor()
    return { fd, sizeBytes: message.sizeBytes, mtimeMs: message.mtimeMs }
  }

  stat(path: string): { kind: Kind; sizeBytes: number; mtimeMs: number } {
    const { message } = this.#ask({ type: 'stat', path })
    if (message.type !== 'attributes') throw outOfStep(message)
    return { kind: message.kind, sizeBytes: message.sizeBytes, mtimeMs: message.mtimeMs }
  }

  list(path: string): { name: string; kind: Kind }[] {
    const found: { name: string; kind: Kind }[] = []
    let { message } = this.#ask({ type: 'list', path })
    for (;;) {
      if (message.type !== 'entries') throw outOfStep(message)
      for (const [name, kind] of message.entries) found.push({ name, kind })
      if (!message.more) return found
      ;({ message } = this.#ask({ type: 'next' }))
    }
  }

  begin(name: string): void {
    if (!isResultName(name))
      throw new HostError(
        'EINVAL',
        `${JSON.stringify(name.slice(0, 300))} is no name for a result: one path component of at ` +
          'most 255 bytes without a leading dot',
      )
    if (this.#names.has(name))
      throw new HostError('EEXIST', `the result ${JSON.stringify(name)} was emitted already`)
    if (this.#results.length >= this.#limits.resultFiles) {
      send({ type: 'over', limit: 'files' })
      throw new HostError('EDQUOT', `a run may emit ${this.#limits.resultFiles} results`)
    }
    this.#names.add(name)
    this.#results.push([name, 0])
  }

  write(data: Uint8Array): void {
    const result = this.#results.at(-1)
    if (result === undefined) throw new HostError('EINVAL', 'no result was begun')
    this.#outputBytes += data.length
    if (this.#outputBytes > this.#limits.outputBytes) {
      send({ type: 'over', limit: 'output' })
      throw new HostError('EFBIG', `a run may emit ${this.#limits.outputBytes} bytes`)
    }
    result[1] += data.length
    if (this.#spool < 0 && this.#outputBytes <= INLINE_BYTES) {
      this.#inline.push(Buffer.from(data))
      return
    }
    if (this.#spool < 0) this.#openSpool()
    this.#append(data)
  }

  log(text: string): void {
    if (this.#logBytes >= this.#limits.logBytes) return
    this.#log.push(text)
    this.#logChars += text.length
    const now = performance.now()
    if (this.#logChars >= TAIL_BYTES || now - this.#loggedAt >= LOG_INTERVAL_MS) {
      this.#loggedAt = now
      this.#flushLog()
    }
  }

  /** Sends the end of the log and, of a run that went well, its results, but for what fits into the
   * last word: that comes back. */
  finish(keepResults: boolean): Ending {
    this.#flushLog()
    const spooled = this.#spool >= 0
    if (spooled) closeSync(this.#spool)
    this.#spool = -1
    if (!keepResults) return { spooled, results: [], bytes: undefined }
    let batch: Result[] = []
    let batchBytes = 0
    for (const result of this.#results) {
      // JSON needs at most six bytes for one of a name.
      const bytes = Buffer.byteLength(JSON.stringify(result[0])) + 24
      if (batchBytes + bytes > TAIL_BYTES - 1024) {
        send({ type: 'results', results: batch })
        batch = []
        batchBytes = 0
      }
      batch.push(result)
      batchBytes += bytes
    }
    let bytes = Buffer.concat(this.#inline)
    this.#inline = []
    if (batchBytes + bytes.length > LAST_WORD_BYTES) {
      send({ type: 'results', results: batch })
      batch = []
      for (; bytes.length > 0; bytes = bytes.subarray(TAIL_BYTES))
        send({ type: 'bytes' }, bytes.subarray(0, TAIL_BYTES))
    }
    return { spooled, results: batch, bytes: bytes.length > 0 ? bytes : undefined }
  }

  #openSpool(): void {
    const { message, fd } = this.#ask({ type: 'spool' })
    if (message.type !== 'spool') throw outOfStep(message)
    if (fd < 0) throw noDescriptor()
    this.#spool = fd
    for (const part of this.#inline) this.#append(part)
    this.#inline = []
  }

  #append(data: Uint8Array): void {
    try {
      for (let at = 0; at < data.length;) at += writeSync(this.#spool, data, at)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error
      send({ type: 'full' })
      throw new HostError('ENOSPC', 'the results store is full')
    }
  }

  #ask(question: FromWorker): Received {
    this.#flushLog()
    send(question)
    const answer = receive()
    if (answer.message.type === 'refused')
      throw new HostError(answer.message.code, answer.message.message)
    return answer
  }

  #flushLog(): void {
    if (this.#logChars === 0) return
    const text = Buffer.from(this.#log.join(''))
    this.#log = []
    this.#logChars = 0
    const room = this.#limits.logBytes - this.#logBytes
    const kept = text.subarray(0, room)
    this.#logBytes += text.length
    for (let at = 0; at < kept.length; at += TAIL_BYTES)
      send({ type: 'log' }, kept.subarray(at, at + TAIL_BYTES))
  }
}

/** The kernel drops a descriptor that comes where there is no number left for it. */
function noDescriptor(): HostError {
  return new HostError('EMFILE', 'too many files are open at once: end the loops over some of them')
}

function outOfStep(message: ToWorker): Error {
  return new Error(`the daemon answered ${message.type} out of step`)
}
