/** One run of an attached program while it is going on, and how it ended. */
import type { CheckOutcome } from '../sandbox/types.ts'
import type { ProgramRecord } from './database.ts'
import { LogBuffer } from './log-buffer.ts'
import { runError } from './run-error.ts'
import type { Ticket } from './scheduler.ts'
import type { Waiters } from './wait.ts'

export type RunEnd =
  /** Another program, or a rerun, took its place: look again. */
  | { readonly superseded: true }
  /** Serves looks with a smaller number. */
  | { readonly superseded: false; readonly serves: number; readonly error: Error | undefined }

export interface ActiveRun {
  state: 'queued' | 'running'
  readonly job: RunJob
  readonly startedAtMs: number
  readonly log: LogBuffer
  readonly ticket: Ticket
  readonly abort: AbortController
  readonly waiters: Waiters<RunEnd>
  /** The program is attached: what comes of the run may show. Never rejects. */
  readonly accepted: PromiseWithResolvers<void>
  /** Its worker is done or dead. Never rejects. */
  ended: Promise<void>
}

/** What of a program's record its runs depend on. */
export type RunJob = Pick<ProgramRecord, 'key' | 'principal' | 'hash' | 'attachedAtMs'>

/** A run of a program that is about to be attached. Either `replace` takes it over or it is dropped. */
export interface Trial {
  readonly active: ActiveRun
  readonly compiled: Promise<CheckOutcome>
  drop(): void
}

/** Why a run was aborted: another one took its place. */
export const SUPERSEDED = runError('cancelled', 'another run took its place')

/** Why a run was aborted: its program is not to be attached. */
export const DROPPED = runError('cancelled', 'the program was not attached')

export function newRun(job: RunJob, ticket: Ticket, logBytes: number): ActiveRun {
  return {
    state: 'queued',
    job,
    startedAtMs: Date.now(),
    log: new LogBuffer(logBytes),
    ticket,
    abort: new AbortController(),
    waiters: new Set(),
    accepted: Promise.withResolvers<void>(),
    ended: Promise.resolve(),
  }
}
