/**
 * The program of one directory: its runs, its published set, and who waits for the next one.
 *
 * At most one run goes on at a time. Every look and every stage of a run takes a number from one
 * counter (`#moment`), so that "began before" has an exact meaning; fresh-run.ts says which looks a
 * run serves.
 */
import type { DirectoryKey, InputSession, PublishedSet } from '../file-server/types.ts'
import { VfsError } from '../errors.ts'
import type { CheckOutcome } from '../sandbox/types.ts'
import {
  type ActiveRun,
  DROPPED,
  newRun,
  type RunEnd,
  type RunJob,
  SUPERSEDED,
  type Trial,
} from './active-run.ts'
import type { ProgramRecord, RunRecord } from './database.ts'
import type { Engine } from './engine.ts'
import { runFresh, type FreshRun } from './fresh-run.ts'
import { releaseSpool } from './result-files.ts'
import { ProgramSets } from './program-sets.ts'
import type { StoredSet } from './results-store.ts'
import { guestRunError, runError, RunError } from './run-error.ts'
import { publishedSet } from './stored-set.ts'
import type { Ticket } from './scheduler.ts'
import type { RunState } from './types.ts'
import { interrupted, waitFor } from './wait.ts'

/** A run is stopped at the wall limit; its waiters should hear that rather than their own time-out. */
const WAIT_SLACK_MS = 2_000

export class AttachedProgram {
  readonly #engine: Engine
  #record: ProgramRecord
  #state: RunState
  #moment = 0
  #active: ActiveRun | undefined
  readonly #sets: ProgramSets
  /** Why nothing of it is to be had any more. */
  #over: VfsError | undefined

  constructor(
    engine: Engine,
    record: ProgramRecord,
    known: { state: RunState; version: number; restored: boolean },
  ) {
    this.#engine = engine
    this.#record = record
    this.#state = known.state
    this.#sets = new ProgramSets(engine, record.key, known)
  }

  get record(): ProgramRecord {
    return this.#record
  }

  get key(): DirectoryKey {
    return this.#record.key
  }

  get state(): RunState {
    if (this.#active !== undefined) return this.#active.state
    return this.#record.broken === undefined ? this.#state : 'broken'
  }

  get version(): number {
    return this.#sets.version
  }

  /** Undefined: no run is going on. */
  get active(): Pick<ActiveRun, 'startedAtMs' | 'log'> | undefined {
    return this.#active
  }

  /** The set that is served if its inputs hold. */
  get current(): PublishedSet | undefined {
    return this.#sets.current
  }

  /** What the last run looked at. */
  get inputs(): InputSession | undefined {
    return this.#sets.inputs
  }

  // ---- looks ---------------------------------------------------------------------------------

  /** Resolves once the published set is fresh for a look that begins now. */
  async resolve(signal: AbortSignal): Promise<void> {
    const look = this.#next()
    const { wallMs } = this.#engine.limits
    const bound = {
      endsAtMs: performance.now() + wallMs + WAIT_SLACK_MS,
      message: `no fresh result within ${wallMs} ms; look again, or raise the time limit`,
    }
    await this.restore()
    for (;;) {
      this.#throwIfOver()
      if (signal.aborted) throw interrupted()
      if (this.#active === undefined) {
        const fresh = await this.#sets.isFresh()
        if (fresh === 'yes') return
        const moved = fresh === 'moved' || this.#active !== undefined || this.#over !== undefined
        if (moved || signal.aborted) continue
      }
      const active = this.#active ?? this.#begin(true)
      active.ticket.promote()
      const end = await waitFor(active.waiters, signal, bound)
      if (end.superseded || end.serves <= look) continue
      if (end.error !== undefined) throw end.error
      return
    }
  }

  #throwIfOver(): void {
    if (this.#over !== undefined) throw this.#over
    if (this.#record.broken !== undefined) throw guestRunError(this.#record.broken, 'compile')
  }

  // ---- runs ----------------------------------------------------------------------------------

  /** Runs `source` in place of what there was, or goes on with the run that began already. A full
   * queue is left to the next look. */
  replace(record: ProgramRecord, source: Uint8Array, trial?: Trial): void {
    this.#supersede()
    this.#record = record
    this.#state = 'idle'
    this.#sets.withdraw()
    if (record.broken !== undefined) return
    if (trial === undefined) return this.#beginEagerly(source)
    this.#active = trial.active
    trial.active.accepted.resolve()
  }

  /** Begins the run of a program while it is decided whether it may be attached: who may not could
   * ask the same by a query. Undefined: there is no room for a run now. */
  tryOut(job: RunJob, source: Uint8Array): Trial | undefined {
    const ticket = this.#engine.scheduler.enterNow(job.principal.uid)
    if (ticket === undefined) return undefined
    const active = newRun(job, ticket, this.#engine.limits.logBytes)
    const compiled = Promise.withResolvers<CheckOutcome>()
    this.#start(active, source, compiled.resolve)
    return {
      active,
      compiled: compiled.promise,
      drop: () => {
        active.abort.abort(DROPPED)
        active.accepted.resolve()
      },
    }
  }

  /** Runs again although the inputs hold; looks wait for it. */
  rerun(): void {
    this.#throwIfOver()
    this.#supersede()
    this.#sets.withdraw()
    this.#beginEagerly()
  }

  cancel(): void {
    this.#active?.abort.abort(runError('cancelled', 'the run was cancelled'))
  }

  #beginEagerly(source?: Uint8Array): void {
    try {
      this.#begin(false, source)
    } catch (error) {
      if (!(error instanceof RunError)) throw error
    }
  }

  #begin(urgent: boolean, source?: Uint8Array): ActiveRun {
    let ticket: Ticket
    try {
      ticket = this.#engine.scheduler.enter(urgent, this.#record.principal.uid)
    } catch (error) {
      if (error instanceof RunError) this.#note('failed', Date.now(), undefined, error)
      throw error
    }
    const active = newRun(this.#record, ticket, this.#engine.limits.logBytes)
    active.accepted.resolve()
    this.#active = active
    this.#start(active, source)
    return active
  }

  #start(
    active: ActiveRun,
    source: Uint8Array | undefined,
    onCompiled?: (outcome: CheckOutcome) => void,
  ): void {
    const ended = this.#execute(active, source, onCompiled).then((end) => {
      for (const wake of active.waiters) wake(end)
    })
    active.ended = ended
    this.#engine.background('a run', ended)
  }

  /** Never rejects: every way to end is a RunEnd. */
  async #execute(
    active: ActiveRun,
    source: Uint8Array | undefined,
    onCompiled?: (outcome: CheckOutcome) => void,
  ): Promise<RunEnd> {
    const { signal } = active.abort
    let serves = Number.POSITIVE_INFINITY
    let error: Error | undefined
    try {
      await active.ticket.entered
      const running = this.#run(active, source, onCompiled)
      await Promise.allSettled([running, active.accepted.promise])
      const fresh = await running
      serves = fresh.serves
      await this.#finish(active, fresh.run)
      if (!fresh.run.ok) error = fresh.run.error
    } catch (thrown) {
      error = (signal.aborted ? signal.reason : thrown) as Error
      if (this.#active === active) this.#fail(active, error)
    }
    active.ticket.leave()
    if (this.#active === active) this.#active = undefined
    if (signal.aborted && signal.reason === SUPERSEDED) return { superseded: true }
    return { superseded: false, serves, error }
  }

  async #run(
    active: ActiveRun,
    source: Uint8Array | undefined,
    onCompiled: ((outcome: CheckOutcome) => void) | undefined,
  ): Promise<{ run: FreshRun; serves: number }> {
    const { volume, sandbox, tenant, limits, database } = this.#engine
    const { key: directory, principal, hash: program, attachedAtMs } = active.job
    const { signal } = active.abort
    signal.throwIfAborted()
    active.state = 'running'
    let begunAt = 0
    let endedAt = Number.POSITIVE_INFINITY
    const run = await runFresh({
      volume,
      sandbox,
      tenant,
      directory,
      principal,
      source: source ?? database.source(directory) ?? new Uint8Array(),
      library: undefined,
      program,
      nowMs: attachedAtMs,
      limits,
      signal,
      onLog: (text) => active.log.append(text),
      onTry: () => {
        active.log.clear()
        begunAt = this.#next()
      },
      onEnd: () => {
        endedAt = this.#next()
      },
      ...(onCompiled && { onCompiled }),
    })
    return { run, serves: run.exact ? endedAt : begunAt }
  }

  async #finish(active: ActiveRun, run: FreshRun): Promise<void> {
    if (run.ok) {
      let stored: StoredSet | undefined
      try {
        await this.restore()
        active.abort.signal.throwIfAborted()
        stored = await this.#sets.store(this.#record, run, active.abort.signal)
      } finally {
        await releaseSpool(run)
        if (stored === undefined) run.inputs.close()
      }
      const set = publishedSet(stored, run.inputs)
      // Not even now: another program may have come while the spool was closed.
      if (active.abort.signal.aborted) {
        run.inputs.close()
        await this.#engine.store.remove(this.key, set.version)
        active.abort.signal.throwIfAborted()
      }
      this.#sets.publish(set)
      this.#note('ok', active.startedAtMs, run, undefined, active.log)
      this.#engine.background('keeping results', this.#sets.tidy(stored))
      return
    }
    if (active.abort.signal.aborted) {
      run.inputs?.close()
      active.abort.signal.throwIfAborted()
    }
    this.#fail(active, run.error, run)
  }

  #fail(active: ActiveRun, error: Error, run?: FreshRun & { ok: false }): void {
    this.#sets.fail(run && { error: run.error, inputs: run.inputs })
    const cancelled = error instanceof RunError && error.failure.kind === 'cancelled'
    this.#note(cancelled ? 'cancelled' : 'failed', active.startedAtMs, run, error, active.log)
    if (!(error instanceof VfsError))
      this.#engine.log.error({ directory: this.key, err: error }, 'a run broke')
  }

  /** What `.status`, `.error` and `.log` say from now on. */
  #note(
    state: RunRecord['state'],
    startedAtMs: number,
    run: FreshRun | undefined,
    error: Error | undefined,
    log?: ActiveRun['log'],
  ): void {
    this.#state = state
    const record: RunRecord = {
      state,
      startedAtMs,
      endedAtMs: Date.now(),
      usage: run?.usage,
      inputs: run?.inputs?.identities().length ?? 0,
      results:
        state === 'ok'
          ? (this.#sets.current?.results ?? []).map(({ name, sizeBytes }) => ({ name, sizeBytes }))
          : [],
      failure: error === undefined ? undefined : failureOf(error),
    }
    this.#engine.database.saveRun(
      this.key,
      this.#sets.version,
      record,
      log?.bytes() ?? new Uint8Array(),
    )
  }

  /** Publishes what an earlier process stored. Once; looks wait for it. */
  restore(): Promise<void> {
    return this.#sets.restore(() => this.#record)
  }

  // ---- its end -------------------------------------------------------------------------------

  /** Ends the run, withdraws the sets; `why` is what lookers get from now on. */
  end(why: VfsError): void {
    if (this.#over !== undefined) return
    this.#over = why
    this.#supersede()
    this.#sets.end()
  }

  /** Its tree goes, and it may come back with it. Resolves when nothing of it reads there any more. */
  async leave(why: VfsError): Promise<void> {
    const active = this.#active
    if (active !== undefined) {
      const error = runError('revoked', `ESTALE: ${why.message} while the program ran`)
      this.#note('failed', active.startedAtMs, undefined, error, active.log)
    }
    this.end(why)
    await active?.ended
  }

  #supersede(): void {
    this.#active?.abort.abort(SUPERSEDED)
    this.#active = undefined
  }

  #next(): number {
    this.#moment += 1
    return this.#moment
  }
}

function failureOf(error: Error): NonNullable<RunRecord['failure']> {
  return error instanceof RunError
    ? error.failure
    : runError('crashed', error.message, { cause: error }).failure
}
