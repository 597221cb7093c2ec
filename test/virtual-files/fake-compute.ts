/** A Compute that compiles by looking for the word `broken`, and remembers what it was asked. */
import type {
  Compute,
  ProgramStatus,
  QueryAnswer,
  StageOptions,
  StageOutcome,
} from '../../src/compute/types.ts'
import { VfsError } from '../../src/errors.ts'
import type { DirectoryKey, Principal, ProgramEntry } from '../../src/file-server/types.ts'

const SYNTAX_ERROR = {
  name: 'SyntaxError',
  message: 'Unexpected identifier',
  stack: '',
  line: 1,
  column: 1,
}

interface Attached {
  readonly source: Uint8Array
  readonly principal: Principal
  readonly broken: boolean
}

type Query = PromiseWithResolvers<QueryAnswer> & { source: string; signal: AbortSignal }

export class FakeCompute implements Compute {
  readonly calls: string[] = []
  readonly attached = new Map<DirectoryKey, Attached>()
  readonly queries: Query[] = []
  /** Thrown by the next call of that method. */
  readonly refusals = new Map<'stage' | 'mayAttach' | 'detach', VfsError>()
  /** Set: a stage waits for it before it compiles. */
  compiler: Promise<void> | undefined
  readonly #announce: (directory: DirectoryKey, entry: ProgramEntry | undefined) => void

  constructor(announce: (directory: DirectoryKey, entry: ProgramEntry | undefined) => void) {
    this.#announce = announce
  }

  async start(): Promise<void> {}

  foresee(): undefined {}

  async stage(
    directory: DirectoryKey,
    source: Uint8Array,
    principal: Principal,
    options?: StageOptions,
  ): Promise<StageOutcome> {
    const text = Buffer.from(source).toString()
    this.calls.push(`stage ${text}`)
    this.#refuse('stage')
    await this.compiler
    const old = this.attached.get(directory)
    if (old !== undefined && Buffer.from(old.source).toString() === text && !old.broken)
      return { status: 'unchanged' }
    const broken = text.includes('broken')
    if (!broken || (options?.keepBroken?.() ?? true)) {
      this.attached.set(directory, { source, principal, broken })
      this.#announce(directory, this.entry(directory))
    }
    return broken ? { status: 'broken', error: SYNTAX_ERROR } : { status: 'attached' }
  }

  async detach(directory: DirectoryKey, principal: Principal): Promise<void> {
    this.calls.push(`detach by ${principal.uid}`)
    this.#refuse('detach')
    this.attached.delete(directory)
    this.#announce(directory, undefined)
  }

  async forget(directory: DirectoryKey): Promise<void> {
    this.calls.push('forget')
    this.attached.delete(directory)
  }

  entry(directory: DirectoryKey): ProgramEntry | undefined {
    const program = this.attached.get(directory)
    if (program === undefined) return undefined
    const { source, principal } = program
    return { sizeBytes: source.byteLength, mtimeNs: 5n, principal, writing: false }
  }

  source(directory: DirectoryKey): Uint8Array | undefined {
    return this.attached.get(directory)?.source
  }

  async mayAttach(): Promise<void> {
    this.#refuse('mayAttach')
  }

  async mayReadProgram(): Promise<boolean> {
    return true
  }

  mayReadControl(): boolean {
    return true
  }

  async resolve(): Promise<void> {
    this.calls.push('resolve')
  }

  status(directory: DirectoryKey): ProgramStatus | undefined {
    const program = this.attached.get(directory)
    if (program === undefined) return undefined
    return {
      state: 'idle',
      program: 'ab',
      version: 0,
      attachedAt: '2026-01-02T03:04:05.000Z',
      principal: program.principal,
      startedAt: undefined,
      endedAt: undefined,
      wallMs: undefined,
      cpuMs: undefined,
      peakMemoryBytes: undefined,
      inputs: 0,
      results: [],
      error: undefined,
    }
  }

  log(): Uint8Array {
    return Buffer.from('a line\n')
  }

  error(): string {
    return ''
  }

  inputs(): string {
    return 'a.log\n'
  }

  async control(
    _directory: DirectoryKey,
    command: 'cancel' | 'rerun',
    principal: Principal,
  ): Promise<void> {
    this.calls.push(`${command} by ${principal.uid}`)
  }

  async query(
    _directory: DirectoryKey,
    source: Uint8Array,
    _principal: Principal,
    signal: AbortSignal,
  ): Promise<QueryAnswer> {
    const query = {
      ...Promise.withResolvers<QueryAnswer>(),
      source: Buffer.from(source).toString(),
      signal,
    }
    this.queries.push(query)
    return query.promise
  }

  async evaluate(): Promise<never> {
    throw new VfsError('ENOTSUP', 'not part of virtual files')
  }

  async list(): Promise<[]> {
    return []
  }

  async close(): Promise<void> {}

  #refuse(call: 'stage' | 'mayAttach' | 'detach'): void {
    const refusal = this.refusals.get(call)
    this.refusals.delete(call)
    if (refusal !== undefined) throw refusal
  }
}
