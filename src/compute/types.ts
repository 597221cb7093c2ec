/** The face of compute: programs attached to directories, their runs, and fresh sets of results. */
import type { ControlName, DirectoryKey, Principal, ProgramEntry } from '../file-server/types.ts'
import type { GuestError, Usage } from '../sandbox/types.ts'

export type StageOutcome =
  | { readonly status: 'attached' | 'unchanged' }
  /** Attached as broken: results give EIO until it is replaced. */
  | { readonly status: 'broken'; readonly error: GuestError }

export type RunState = 'idle' | 'queued' | 'running' | 'ok' | 'failed' | 'broken' | 'cancelled'

/** `.status`, as JSON. Times are ISO 8601, durations in ms, sizes in bytes. */
export interface ProgramStatus {
  readonly state: RunState
  /** sha256 of the source, hex. */
  readonly program: string
  readonly version: number
  readonly attachedAt: string
  readonly principal: { uid: number; gid: number }
  readonly startedAt: string | undefined
  readonly endedAt: string | undefined
  readonly wallMs: number | undefined
  readonly cpuMs: number | undefined
  readonly peakMemoryBytes: number | undefined
  readonly inputs: number
  readonly results: readonly { name: string; sizeBytes: number }[]
  readonly error: (Omit<GuestError, 'stack'> & { limit?: string }) | undefined
}

export interface ProgramSummary {
  readonly directory: DirectoryKey
  /** Relative to the volume; undefined: the directory is gone. */
  readonly path: string | undefined
  readonly state: RunState
  readonly program: string
  readonly sizeBytes: number
  readonly principal: Principal
}

/** The answer of a query, read as a stream. */
export interface QueryAnswer {
  readonly bytes: Uint8Array
}

export interface StageOptions {
  /** Asked once a program turned out not to compile: attach it as broken (the default), or leave
   * everything as it was. */
  readonly keepBroken?: () => boolean
  /** What `foresee` gave for these bytes; it is used up. */
  readonly foreseen?: Foreseen | undefined
}

/** A run of a program that is still being written. Nothing of it shows before it is staged. */
export interface Foreseen {
  /** Idempotent; does nothing to what was staged. */
  drop(): void
}

/** What came of a program that is attached nowhere. */
export interface Evaluation {
  /** Files in the folder that was given. */
  readonly results: readonly { name: string; sizeBytes: number }[]
  readonly usage: Usage
}

/** Refusals reject with VfsError: EACCES, EPERM (sticky), EFBIG, EDQUOT, ENOENT, EAGAIN, EIO, ECANCELED. */
export interface Compute {
  /** Loads persisted programs and results and tells the file server of them. */
  start(): Promise<void>
  /** Makes `source` the directory's program, unless it is the one already; a run starts. The same
   * broken bytes again are `broken` again. */
  /** `source` may be the whole program: begins to compile and run it, if there is room to. It ends
   * unless it is staged very soon. The principal is one who may attach. */
  foresee(directory: DirectoryKey, source: Uint8Array, principal: Principal): Foreseen | undefined
  stage(
    directory: DirectoryKey,
    source: Uint8Array,
    principal: Principal,
    options?: StageOptions,
  ): Promise<StageOutcome>
  detach(directory: DirectoryKey, principal: Principal): Promise<void>
  /** The directory is gone: drop everything of it. */
  forget(directory: DirectoryKey): Promise<void>
  entry(directory: DirectoryKey): ProgramEntry | undefined
  source(directory: DirectoryKey): Uint8Array | undefined
  /** Throws unless `principal` may attach here now (right to write; sticky rule). */
  mayAttach(directory: DirectoryKey, principal: Principal): Promise<void>
  /** Resolves once a fresh set is published; look begins now. */
  resolve(directory: DirectoryKey, signal: AbortSignal): Promise<void>
  /** Whether `reader` may read the program itself: who may list the directory, and its owner. */
  mayReadProgram(directory: DirectoryKey, reader: Principal): Promise<boolean>
  /**
   * Whether `reader` may see what a control file tells now. Beside the principal as far as the current
   * set is readable: a run that failed or goes on may have seen more secret inputs.
   */
  mayReadControl(directory: DirectoryKey, name: ControlName, reader: Principal): boolean
  status(directory: DirectoryKey): ProgramStatus | undefined
  log(directory: DirectoryKey): Uint8Array
  /** Empty when the last run was fine. */
  error(directory: DirectoryKey): string
  /** One path a line. */
  inputs(directory: DirectoryKey): string
  control(directory: DirectoryKey, command: 'cancel' | 'rerun', principal: Principal): Promise<void>
  query(
    directory: DirectoryKey,
    source: Uint8Array,
    principal: Principal,
    signal: AbortSignal,
  ): Promise<QueryAnswer>
  /** Runs a program that is attached nowhere; its results become files in `folder`, which exists.
   * A run that failed rejects with RunError. */
  evaluate(
    directory: DirectoryKey,
    source: Uint8Array,
    principal: Principal,
    options: { folder: string; signal: AbortSignal; onLog: (text: string) => void },
  ): Promise<Evaluation>
  list(): Promise<readonly ProgramSummary[]>
  close(): Promise<void>
}
