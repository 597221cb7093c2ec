/**
 * The face of the sandbox: run one hostile program once, and say what came of it. The daemon never
 * parses, strips, globs or deserialises anything that a guest shaped.
 */
import type { Principal } from '../file-server/types.ts'

export interface RunLimits {
  readonly wallMs: number
  readonly cpuMs: number
  /** JavaScript heap, ArrayBuffers and Wasm together. */
  readonly memoryBytes: number
  /** All results of a run together. */
  readonly outputBytes: number
  readonly resultFiles: number
  readonly logBytes: number
  readonly programBytes: number
  /** Inputs opened, stat'ed or looked for. */
  readonly inputs: number
}

/** Serves a worker's questions about files; rejections are VfsError and reach the guest as an Error
 * with that code. The fd given to `open`'s caller is owned by the sandbox from then on. */
export interface RunInputs {
  open(path: string): Promise<{ fd: number; sizeBytes: number; mtimeNs: bigint }>
  stat(path: string): Promise<{ kind: string; sizeBytes: number; mtimeNs: bigint }>
  list(path: string): Promise<readonly { name: string; kind: string }[]>
}

export interface RunRequest {
  readonly tenant: string
  readonly principal: Principal
  readonly source: Uint8Array
  /** What `import program from '.compute'` gives a query; undefined: there is none. */
  readonly library: Uint8Array | undefined
  /** 32 bytes; the guest's randomness. Inputs are mixed in by the worker as they are opened. */
  readonly seed: Uint8Array
  /** Milliseconds since the epoch at which the guest's clock stands still. */
  readonly nowMs: number
  readonly limits: RunLimits
  readonly inputs: RunInputs
  /** Console output as it comes, already bounded by `limits.logBytes`. */
  readonly onLog: (text: string) => void
}

/** An error of the guest's program; every text is bounded and plain. Line and column are 1-based and
 * the program's own (after type stripping too); undefined where there is none. */
export interface GuestError {
  readonly name: string
  readonly message: string
  readonly stack: string
  readonly line: number | undefined
  readonly column: number | undefined
}

export interface Usage {
  readonly wallMs: number
  readonly cpuMs: number
  readonly peakMemoryBytes: number
}

/** A result's bytes: small ones inline, large ones as a range of a spool file that the worker wrote.
 * The receiver copies the range before it trusts it, and closes `fd` once (shared by the run). */
export type RunResult =
  | { readonly name: string; readonly bytes: Uint8Array }
  | { readonly name: string; readonly spool: { fd: number; offset: number; sizeBytes: number } }

export type LimitName =
  'wall' | 'cpu' | 'memory' | 'output' | 'files' | 'program' | 'inputs' | 'queue'

export type RunOutcome = (
  | {
      readonly status: 'ok'
      readonly results: readonly RunResult[]
      readonly spoolFd: number | undefined
    }
  /** Threw, did not compile (`phase: 'compile'`), or left a promise pending. */
  | { readonly status: 'failed'; readonly phase: 'compile' | 'run'; readonly error: GuestError }
  | { readonly status: 'over-limit'; readonly limit: LimitName; readonly message: string }
  | { readonly status: 'cancelled' }
  /** The worker died or broke the protocol; an ordinary outcome. */
  | { readonly status: 'crashed'; readonly message: string }
  /** The file system of the spool directory has no room for its results. */
  | { readonly status: 'store-full'; readonly message: string }
  /** There is no jail here; nothing was run. */
  | { readonly status: 'unavailable'; readonly message: string }
) & { readonly usage: Usage }

export interface Run {
  readonly outcome: Promise<RunOutcome>
  /** Known before the outcome: whether the program compiles. Never rejects. */
  readonly compiled: Promise<CheckOutcome>
  /** Kills it; the outcome becomes `cancelled`. Idempotent. */
  cancel(): void
}

export type CheckOutcome =
  | { readonly status: 'ok' }
  | { readonly status: 'failed'; readonly error: GuestError }
  /** `limit: 'queue'`: nothing was tried, another time may do. */
  | { readonly status: 'over-limit'; readonly limit?: LimitName; readonly message: string }
  | { readonly status: 'crashed' | 'unavailable'; readonly message: string }

export interface Sandbox {
  /** Compiles only; runs nothing of it. A worker that compiled stays ready to run the same source. */
  check(
    request: Pick<RunRequest, 'tenant' | 'principal' | 'source' | 'limits'>,
  ): Promise<CheckOutcome>
  run(request: RunRequest): Run
  /** Makes workers ready for this principal; best effort. */
  warm(tenant: string, principal: Principal): void
  statistics(): { workers: number; idle: number; runs: number; queued: number; kills: number }
  /** Kills every worker and waits until they are gone. */
  close(): Promise<void>
}

export interface SandboxOptions {
  readonly jail: 'bubblewrap' | 'unsafe-none'
  readonly maxWorkers: number
  readonly idleWorkers: number
  /** Of each principal; ten times as many of a tenant. */
  readonly queuedRuns: number
  /** Of the workers, when others wait too: who has 2 gets twice as many as who has 1, which is what
   * everybody has if it is not given. */
  readonly shareOf?: (tenant: string) => number
  /** Idle workers die after this. */
  readonly idleMs: number
  /** Where large results are spooled, in files without names; the system's temporary folder if not
   * given. Best on the file system of the results store. */
  readonly spoolDirectory?: string
  /** What isolates in waiting are made for: the limits that most runs have. */
  readonly warmLimits?: RunLimits
}
