/** What an attack is: a program, where it runs, and how it must end. */
import type { LimitName, RunLimits } from '../../../src/sandbox/types.ts'

/** Who ends the attack. `docs/sandbox.md` explains each; its table names the tests. */
export type Layer =
  /** V8 and the realm: a RangeError, a TypeError, something that is not there. */
  | 'isolate'
  /** The guest runtime in the isolate: names, iterables, errors made plain. */
  | 'guest runtime'
  /** The worker's trusted half: parsing, the bound on a call. */
  | 'worker'
  /** isolated-vm's own limits on time and memory. */
  | 'isolate limits'
  /** RLIMIT_DATA, RLIMIT_FSIZE. */
  | 'resource limits'
  /** The daemon's half of the protocol: names, counts and sizes are checked again. */
  | 'protocol'
  /** The daemon's watcher: SIGKILL on wall time, cpu, resident memory. */
  | 'watcher'
  /** The file server's walk with the principal's rights. */
  | 'inputs'

export type Expected =
  /** Each named result must hold exactly this; `result` is the return value. */
  | { readonly status: 'ok'; readonly results: Readonly<Record<string, string>> }
  | {
      readonly status: 'failed'
      readonly phase: 'compile' | 'run'
      readonly name?: string
      readonly message: RegExp
    }
  | { readonly status: 'over-limit'; readonly limit: LimitName }
  | { readonly status: 'crashed' }

export interface Attack {
  /** The program's file below `programs/`, or what a generated one is called. */
  readonly program: string
  /** A program that is better described than stored. */
  readonly source?: () => string | Uint8Array
  readonly layer: Layer
  /** More than one only where the machine's memory or speed decides who is first. */
  readonly expected: Expected | readonly Expected[]
  readonly limits?: Partial<RunLimits>
  /** Makes what the attack wants to find in its directory. */
  readonly prepare?: (directory: string) => Promise<void> | void
  /** Runs beside the attack, until it is over. */
  readonly meanwhile?: (directory: string, over: AbortSignal) => Promise<void>
  /** Further checks on what came out. */
  readonly verify?: (seen: Seen) => void
  /** As whom the program runs; by default the owner of the directory. */
  readonly uid?: number
}

export interface Seen {
  readonly results: ReadonlyMap<string, string>
  readonly log: string
}

/** The program looked for leaks by itself and found none. */
export const HELD: Expected = { status: 'ok', results: { result: 'held' } }

export const over = (limit: LimitName): Expected => ({ status: 'over-limit', limit })
export const failed = (name: string, message: RegExp): Expected => ({
  status: 'failed',
  phase: 'run',
  name,
  message,
})
export const rejected = (message: RegExp): Expected => ({
  status: 'failed',
  phase: 'compile',
  message,
})
