import { explain } from '../compute/report.ts'
import { RunError, type RunFailure } from '../compute/run-error.ts'
import type { Compute } from '../compute/types.ts'
import { errnoOf, VfsError, type Errno } from '../errors.ts'
import type { DirectoryKey, Principal } from '../file-server/types.ts'
import type { Budget } from './byte-budget.ts'
import { OpenFile } from './open-file.ts'
import { ProgramBuffer } from './program-buffer.ts'

const NOTHING = new Uint8Array(0)

type State =
  | { readonly phase: 'asking' }
  | { readonly phase: 'running'; readonly abort: AbortController; readonly settled: Promise<void> }
  /** `failure` is what the next read gets; the bytes behind it are its message. */
  | {
      readonly phase: 'answering'
      readonly bytes: Uint8Array
      cursor: number
      failure: Errno | undefined
    }

export interface QueryFileOptions {
  readonly compute: Compute
  readonly directory: DirectoryKey
  readonly principal: Principal
  readonly maxBytes: number
  readonly budget: Budget
  /** A poll that said "not readable" may now succeed. */
  readonly wake: () => void
}

/**
 * One conversation: writes collect a program, the first read runs it and gets the answer, its end is
 * an end of file, and the next write asks anew. A failed query fails one read with its errno; the
 * reads after that one give the message, so that a shell user can print it.
 */
export class QueryFile extends OpenFile {
  override readonly stream = true
  readonly #options: QueryFileOptions
  readonly #program: ProgramBuffer
  #state: State = { phase: 'asking' }
  #polled = false
  /** A write was refused: the question is not whole, and is not run. A read tells so and ends it. */
  #refusal: VfsError | undefined

  constructor(options: QueryFileOptions) {
    super()
    this.#options = options
    this.#program = new ProgramBuffer(options.maxBytes, options.budget)
  }

  override async write(_offset: number, data: Uint8Array): Promise<void> {
    if (this.#state.phase !== 'asking') this.#askAnew()
    if (this.#refusal !== undefined) throw this.#refusal
    try {
      this.#program.write(this.#program.sizeBytes, data)
    } catch (error) {
      if (error instanceof VfsError) this.#refusal = error
      throw error
    }
  }

  override async read(
    _offset: number,
    sizeBytes: number,
    nonBlocking: boolean,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const refusal = this.#refusal
    if (refusal !== undefined) {
      this.#askAnew()
      throw refusal
    }
    this.#runIfAsked()
    while (this.#state.phase === 'running') {
      if (nonBlocking) throw new VfsError('EAGAIN', 'the query is still running')
      await settledOrAborted(this.#state.settled, signal)
    }
    if (this.#state.phase === 'asking') return NOTHING
    const answer = this.#state
    if (answer.failure !== undefined) {
      const errno = answer.failure
      answer.failure = undefined
      throw new VfsError(errno, Buffer.from(answer.bytes).toString())
    }
    const bytes = answer.bytes.subarray(answer.cursor, answer.cursor + sizeBytes)
    answer.cursor += bytes.byteLength
    if (bytes.byteLength === 0) this.#askAnew()
    return bytes
  }

  override poll(forReading: boolean): { readable: boolean; writable: boolean } {
    if (forReading) this.#runIfAsked()
    const readable = this.#state.phase === 'answering' || this.#refusal !== undefined
    if (!readable) this.#polled = true
    return { readable, writable: true }
  }

  override release(): void {
    this.#askAnew()
  }

  #runIfAsked(): void {
    if (this.#state.phase !== 'asking' || this.#program.sizeBytes === 0) return
    if (this.#refusal !== undefined) return
    const { compute, directory, principal } = this.#options
    const source = this.#program.content()
    this.#program.dispose()
    const abort = new AbortController()
    const settled = compute.query(directory, source, principal, abort.signal).then(
      (answer) => this.#settle(abort, answer.bytes, undefined),
      (error: unknown) => this.#fail(abort, error),
    )
    this.#state = { phase: 'running', abort, settled }
  }

  #fail(abort: AbortController, error: unknown): void {
    const failure = error instanceof RunError ? error.failure : undefined
    const message = error instanceof Error ? `${error.message}\n` : 'the query failed\n'
    const text = failure === undefined ? message : explain(failure)
    this.#settle(abort, Buffer.from(text), errnoFor(failure?.kind, errnoOf(error)))
  }

  #settle(abort: AbortController, bytes: Uint8Array, failure: Errno | undefined): void {
    if (this.#state.phase !== 'running' || this.#state.abort !== abort) return // superseded
    try {
      this.#options.budget.take(bytes.byteLength)
      this.#state = { phase: 'answering', bytes, cursor: 0, failure }
    } catch (error) {
      this.#state = { phase: 'answering', bytes: NOTHING, cursor: 0, failure: errnoOf(error) }
    }
    if (!this.#polled) return
    this.#polled = false
    this.#options.wake()
  }

  #askAnew(): void {
    if (this.#state.phase === 'running') this.#state.abort.abort()
    if (this.#state.phase === 'answering')
      this.#options.budget.giveBack(this.#state.bytes.byteLength)
    this.#state = { phase: 'asking' }
    this.#refusal = undefined
    this.#program.dispose()
  }
}

function errnoFor(kind: RunFailure['kind'] | undefined, errno: Errno): Errno {
  if (kind === 'compile') return 'ENOEXEC'
  // On this descriptor EAGAIN means "not yet": a reader would poll for ever.
  return errno === 'EAGAIN' ? 'EBUSY' : errno
}

async function settledOrAborted(settled: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(new VfsError('EINTR', 'interrupted'))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([settled, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
    promise.catch(() => {}) // settled first, aborted later: nobody is left to tell
  }
}
