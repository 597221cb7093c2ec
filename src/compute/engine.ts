/** What every attached program of one volume shares. */
import type { DirectoryKey, FileServer, Volume } from '../file-server/types.ts'
import type { RunLimits, Sandbox } from '../sandbox/types.ts'
import type { VfsError } from '../errors.ts'
import type { Database } from './database.ts'
import type { HeldInputs } from './held-inputs.ts'
import type { ResultsStore } from './results-store.ts'
import type { Scheduler } from './scheduler.ts'

/** Structured, as pino's. */
export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Going on now. */
export interface OnceRun {
  readonly directory: DirectoryKey
  /** Its tree goes: resolves when it has ended. */
  leave(why: VfsError): Promise<void>
}

export interface Engine {
  readonly volume: Volume
  /** Undefined: nothing is mounted. */
  readonly fileServer: Pick<FileServer, 'setProgram' | 'publish' | 'watchTrees'> | undefined
  readonly sandbox: Sandbox
  readonly database: Database
  readonly store: ResultsStore
  readonly scheduler: Scheduler
  readonly heldInputs: HeldInputs
  /** Runs of programs that are attached nowhere. */
  readonly once: Set<OnceRun>
  readonly tenant: string
  readonly limits: RunLimits
  readonly log: Log
  /** Work that nobody waits for, but the end of the engine; a failure is logged under `what`. */
  background(what: string, work: Promise<unknown>): void
}
