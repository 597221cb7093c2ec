/** What is said to a worker to compile a program and to run it, and what is made of the answers. */
import { closeSync, fstatSync, mkdirSync } from 'node:fs'
import { constants } from 'node:os'
import { addon } from '../addon/index.ts'
import { errnoOf } from '../errors.ts'
import { INLINE_BYTES, isResultName, type Kind, TAIL_BYTES } from '../worker/protocol.ts'
import { plainText } from './checks.ts'
import type { GuestError, LimitName, RunOutcome, RunRequest, RunResult } from './types.ts'
import type { Worker } from './worker.ts'

/** What a frame of log costs beside its bytes: a worker that sends many small ones pays for it. */
const LOG_FRAME_BYTES = 64

/** A refusal's sentence in one frame, also when JSON needs six bytes a character. */
const REFUSAL_CHARS = 4_096

type WithoutUsage<T> = T extends unknown ? Omit<T, 'usage'> : never
export type Answer = WithoutUsage<RunOutcome>

export interface Compiled {
  readonly error: GuestError | undefined
  readonly retire: boolean
}

/** `meanwhile` may say more to the worker, which gets to it once it has compiled. */
export async function compile(
  worker: Worker,
  source: Uint8Array,
  library: Uint8Array | undefined,
  meanwhile?: () => void,
): Promise<Compiled> {
  const bytes = library === undefined ? source : Buffer.concat([source, library])
  worker.send(
    { type: 'load', programBytes: source.length, libraryBytes: library?.length ?? -1 },
    bytes.subarray(0, TAIL_BYTES),
  )
  for (let at = TAIL_BYTES; at < bytes.length; at += TAIL_BYTES)
    worker.send({ type: 'bytes' }, bytes.subarray(at, at + TAIL_BYTES))
  meanwhile?.()
  const { message } = await worker.next()
  if (message.type !== 'compiled') throw worker.violation(`${message.type} came, not compiled`)
  return message
}

type Entries = readonly (readonly [name: string, kind: Kind])[]

/** One run, from the word to begin to its answer. */
export class Conversation {
  readonly #worker: Worker
  readonly #request: RunRequest
  readonly #spoolDirectory: string
  readonly #text = new TextDecoder()
  #inputs = 0
  #logBytes = 0
  #spoolFd: number | undefined
  /** Pages of a listing that the worker has not asked for yet. */
  #pages: Entries[] = []
  readonly #sizes = new Map<string, number>()
  #outputBytes = 0
  readonly #inline: Buffer[] = []
  #inlineBytes = 0

  constructor(worker: Worker, request: RunRequest, spoolDirectory: string) {
    this.#worker = worker
    this.#request = request
    this.#spoolDirectory = spoolDirectory
  }

  /** The worker is to run what it has compiled, or compiles just now. */
  begin(): void {
    const { seed, nowMs, limits } = this.#request
    this.#worker.send({ type: 'run', seed: Buffer.from(seed).toString('hex'), nowMs, limits })
  }

  /** Serves the run to its end. `retire`: the worker is to be ended. */
  async hold(): Promise<{ answer: Answer; retire: boolean }> {
    try {
      return await this.#serveToEnd()
    } catch (error) {
      this.#dropSpool()
      throw error
    }
  }

  async #serveToEnd(): Promise<{ answer: Answer; retire: boolean }> {
    for (;;) {
      const { message, tail } = await this.#worker.next()
      switch (message.type) {
        case 'open':
          await this.#serve(() => this.#open(message.path))
          break
        case 'stat':
          await this.#serve(() => this.#stat(message.path))
          break
        case 'list':
          await this.#serve(() => this.#list(message.path))
          break
        case 'next':
          this.#sendPage()
          break
        case 'log':
          this.#log(tail)
          break
        case 'spool':
          this.#makeSpool()
          break
        case 'over':
          throw this.#over(message.limit)
        case 'full':
          throw this.#full()
        case 'results':
          this.#addResults(message.results)
          break
        case 'bytes':
          this.#addBytes(tail)
          break
        case 'done':
          this.#addResults(message.results)
          if (tail.length > 0) this.#addBytes(tail)
          return { answer: this.#finish(message.error, message.spooled), retire: message.retire }
        case 'ready':
        case 'compiled':
          throw this.#worker.violation(`${message.type} came during a run`)
      }
    }
  }

  #dropSpool(): void {
    if (this.#spoolFd !== undefined) closeSync(this.#spoolFd)
    this.#spoolFd = undefined
  }

  /** Answers a question about files; what goes wrong there is the program's to handle. */
  async #serve(answer: () => Promise<void>): Promise<void> {
    this.#inputs += 1
    if (this.#inputs > this.#request.limits.inputs) throw this.#over('inputs')
    try {
      await answer()
    } catch (error) {
      if (this.#worker.dead) throw error
      const text = error instanceof Error ? error.message : String(error)
      this.#worker.send({
        type: 'refused',
        code: errnoOf(error),
        message: text.slice(0, REFUSAL_CHARS),
      })
    }
  }

  async #open(path: string): Promise<void> {
    const { fd, sizeBytes, mtimeNs } = await this.#worker.during(
      this.#request.inputs.open(path),
      (late) => closeSync(late.fd),
    )
    this.#worker.send({ type: 'opened', sizeBytes, mtimeMs: Number(mtimeNs) / 1e6 }, undefined, fd)
  }

  async #stat(path: string): Promise<void> {
    const { kind, sizeBytes, mtimeNs } = await this.#worker.during(this.#request.inputs.stat(path))
    this.#worker.send({
      type: 'attributes',
      kind: asKind(kind),
      sizeBytes,
      mtimeMs: Number(mtimeNs) / 1e6,
    })
  }

  async #list(path: string): Promise<void> {
    const entries = await this.#worker.during(this.#request.inputs.list(path))
    this.#pages = pagesOf(entries)
    this.#sendPage()
  }

  #sendPage(): void {
    const entries = this.#pages.shift()
    if (entries === undefined) throw this.#worker.violation('it asked for more of no listing')
    this.#worker.send({ type: 'entries', entries, more: this.#pages.length > 0 })
  }

  #log(tail: Buffer): void {
    const { logBytes } = this.#request.limits
    const room = logBytes - this.#logBytes
    this.#logBytes += tail.length + LOG_FRAME_BYTES
    // The trusted half keeps to the bound and to few frames.
    if (this.#logBytes > 2 * logBytes + 1024 * 1024)
      throw this.#worker.violation('it floods its log')
    const text = this.#text.decode(tail.subarray(0, Math.max(room, 0)), { stream: true })
    if (text !== '') this.#request.onLog(plainText(text))
  }

  #makeSpool(): void {
    if (this.#spoolFd !== undefined)
      throw this.#worker.violation('it asked for a second spool file')
    let passed: number
    try {
      // Somebody may have cleared the state directory under us.
      mkdirSync(this.#spoolDirectory, { recursive: true, mode: 0o700 })
      const spool = addon.sandbox.spoolFile(this.#spoolDirectory)
      this.#spoolFd = spool.own
      passed = spool.passed
    } catch (error) {
      const { errno } = error as { errno?: number }
      if (errno === constants.errno.ENOSPC || errno === constants.errno.EDQUOT) throw this.#full()
      this.#worker.send({ type: 'refused', code: 'EIO', message: String(error) })
      return
    }
    this.#worker.send({ type: 'spool' }, undefined, passed)
  }

  #addResults(results: readonly (readonly [name: string, sizeBytes: number])[]): void {
    const { resultFiles, outputBytes } = this.#request.limits
    for (const [name, sizeBytes] of results) {
      if (!isResultName(name) || this.#sizes.has(name))
        throw this.#worker.violation('it named a result twice')
      if (this.#sizes.size >= resultFiles) throw this.#over('files')
      this.#outputBytes += sizeBytes
      if (this.#outputBytes > outputBytes) throw this.#over('output')
      this.#sizes.set(name, sizeBytes)
    }
  }

  #addBytes(tail: Buffer): void {
    this.#inlineBytes += tail.length
    if (tail.length === 0 || this.#inlineBytes > INLINE_BYTES)
      throw this.#worker.violation('it sent results that do not fit in frames')
    this.#inline.push(tail)
  }

  #finish(error: GuestError | undefined, spooled: boolean): Answer {
    if (error !== undefined) {
      this.#dropSpool()
      return { status: 'failed', phase: 'run', error }
    }
    const rest = this.#text.decode()
    if (rest !== '') this.#request.onLog(plainText(rest))
    return spooled ? this.#spooledResults() : this.#inlineResults()
  }

  #inlineResults(): Answer {
    if (this.#inlineBytes !== this.#outputBytes)
      throw this.#worker.violation('its results have not the sizes that it names')
    this.#dropSpool()
    const bytes = Buffer.concat(this.#inline)
    let offset = 0
    const results: RunResult[] = []
    for (const [name, sizeBytes] of this.#sizes) {
      results.push({ name, bytes: bytes.subarray(offset, offset + sizeBytes) })
      offset += sizeBytes
    }
    return { status: 'ok', results, spoolFd: undefined }
  }

  #spooledResults(): Answer {
    const fd = this.#spoolFd
    if (fd === undefined || fstatSync(fd).size < this.#outputBytes)
      throw this.#worker.violation('its spool file is shorter than its results')
    let offset = 0
    const results: RunResult[] = []
    for (const [name, sizeBytes] of this.#sizes) {
      results.push({ name, spool: { fd, offset, sizeBytes } })
      offset += sizeBytes
    }
    this.#spoolFd = undefined
    return { status: 'ok', results, spoolFd: fd }
  }

  /** Not the program's doing, so it is not for the program to handle. */
  #full(): Error {
    const message = 'the results store is full: free space, then look again'
    return this.#worker.kill({ kind: 'store-full', message })
  }

  #over(limit: LimitName): Error {
    const { outputBytes, resultFiles, inputs } = this.#request.limits
    const message =
      limit === 'output'
        ? `the results have more than ${outputBytes} bytes`
        : limit === 'files'
          ? `the program emits more than ${resultFiles} results`
          : `the program looks at more than ${inputs} inputs`
    return this.#worker.kill({ kind: 'limit', limit, message })
  }
}

function asKind(kind: string): Kind {
  return kind === 'file' || kind === 'directory' || kind === 'symlink' ? kind : 'other'
}

/** At least one page, also of an empty listing. */
function pagesOf(entries: readonly { name: string; kind: string }[]): Entries[] {
  const pages: [string, Kind][][] = []
  let page: [string, Kind][] = []
  let pageBytes = 0
  for (const { name, kind } of entries) {
    const bytes = Buffer.byteLength(JSON.stringify(name)) + 16
    if (pageBytes + bytes > TAIL_BYTES) {
      pages.push(page)
      page = []
      pageBytes = 0
    }
    page.push([name, asKind(kind)])
    pageBytes += bytes
  }
  pages.push(page)
  return pages
}
