/**
 * One run whose results are true of its inputs: it is validated at its end, and repeated if an input
 * changed meanwhile.
 *
 * A run serves a *look* (somebody wants results that hold from now on) as follows. If at the end
 * every identity still holds, it serves every look that began before that validation. If inputs only
 * grew, it is true of what was there when the run began, so it serves the looks from before then;
 * a look that joined later may know of the new bytes.
 */
import { hash } from 'node:crypto'
import { errnoOf } from '../errors.ts'
import type {
  DirectoryKey,
  InputSession,
  Principal,
  Validation,
  Volume,
} from '../file-server/types.ts'
import type {
  CheckOutcome,
  RunLimits,
  RunOutcome,
  RunResult,
  Sandbox,
  Usage,
} from '../sandbox/types.ts'
import { releaseSpool } from './result-files.ts'
import { outcomeError, runError, type RunError } from './run-error.ts'

export interface Job {
  readonly volume: Volume
  readonly sandbox: Sandbox
  readonly tenant: string
  readonly directory: DirectoryKey
  readonly principal: Principal
  readonly source: Uint8Array
  readonly library: Uint8Array | undefined
  /** sha256 of the source, hex. */
  readonly program: string
  readonly nowMs: number
  readonly limits: RunLimits
  readonly signal: AbortSignal
  readonly onLog: (text: string) => void
  /** A try begins: what it does not yet know it will see. */
  readonly onTry?: () => void
  /** A try ended; what it saw is looked at once more. */
  readonly onEnd?: () => void
  /** Hears of each try whether the program compiles, before its outcome. */
  readonly onCompiled?: (outcome: CheckOutcome) => void
}

export type FreshRun =
  | {
      readonly ok: true
      readonly results: readonly RunResult[]
      /** To be released by the receiver. */
      readonly spoolFd: number | undefined
      readonly usage: Usage
      /** Owned by the receiver. */
      readonly inputs: InputSession
      /** As of `InputSession.readableMode` for the principal's group. */
      readonly readableMode: number
      /** Every identity held at the end, not only but for growth. */
      readonly exact: boolean
    }
  | {
      readonly ok: false
      readonly error: RunError
      readonly usage: Usage | undefined
      /** Owned by the receiver; while they hold, the program would fail again. Undefined: it might not. */
      readonly inputs: InputSession | undefined
      readonly exact: boolean
    }

/** A program that never sees the same inputs twice would run for ever. */
const TRIES = 3

/** Rejects only with what is no outcome of a run; then nothing is left to release. */
export async function runFresh(job: Job): Promise<FreshRun> {
  const endsAtMs = performance.now() + job.limits.wallMs
  let change = ''
  let usage: Usage | undefined
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const leftMs = Math.ceil(endsAtMs - performance.now())
    if (leftMs <= 0) break
    job.onTry?.()
    const opened = openInputs(job)
    // A worker is ready for the usual limits; only a further try has less time.
    const limits = attempt === 1 ? job.limits : { ...job.limits, wallMs: leftMs }
    const outcome = await runOnce(job, limits, opened)
    usage = outcome.usage
    const settled = await settle(job, outcome, opened)
    if (!('changed' in settled)) {
      // Out of time because earlier tries took it: the changing inputs are the reason to tell.
      if (attempt === 1 || settled.ok || settled.error.failure.limit !== 'wall') return settled
      settled.inputs?.close()
      break
    }
    change = settled.changed
  }
  const error = runError(
    'inputs-changed',
    `the inputs changed during each run (${change}); look again when they are quieter`,
  )
  return { ok: false, error, usage, inputs: undefined, exact: false }
}

/** The worker starts while the rights are looked at; it gets no input before they are known. */
async function runOnce(
  job: Job,
  limits: RunLimits,
  opened: Promise<InputSession>,
): Promise<RunOutcome> {
  const run = job.sandbox.run({
    tenant: job.tenant,
    principal: job.principal,
    source: job.source,
    library: job.library,
    seed: hash('sha256', `${job.tenant}\0${job.program}`, 'buffer'),
    nowMs: job.nowMs,
    limits,
    inputs: {
      open: async (path) => (await opened).open(path),
      stat: async (path) => (await opened).stat(path),
      list: async (path) => (await opened).list(path),
    },
    onLog: job.onLog,
  })
  const cancel = (): void => run.cancel()
  opened.catch(cancel)
  if (job.onCompiled !== undefined) void run.compiled.then(job.onCompiled)
  job.signal.addEventListener('abort', cancel, { once: true })
  if (job.signal.aborted) cancel()
  try {
    return await run.outcome
  } finally {
    job.signal.removeEventListener('abort', cancel)
  }
}

/** Owns the inputs and the spool from here, and hands on what the result needs. */
async function settle(
  job: Job,
  outcome: RunOutcome,
  opened: Promise<InputSession>,
): Promise<FreshRun | { changed: string }> {
  const { usage } = outcome
  let inputs: InputSession | undefined
  let kept = false
  try {
    inputs = await opened
    if (!isDecidedByInputs(outcome))
      return { ok: false, error: outcomeError(outcome), usage, inputs: undefined, exact: true }
    job.onEnd?.()
    const { gid } = job.principal
    const { holds: exact, readableMode } = await inputs.conclude(gid)
    // What goes over a limit is not tried again at once: it would likely take as long again.
    const validation =
      exact || outcome.status === 'over-limit' ? HOLDS : await inputs.validate('end')
    if (!validation.holds) return { changed: `${validation.path}: ${validation.why}` }
    kept = true
    if (outcome.status !== 'ok')
      return { ok: false, error: outcomeError(outcome), usage, inputs, exact }
    const { results, spoolFd } = outcome
    const mode = exact ? readableMode : await inputs.readableMode(gid)
    return { ok: true, results, spoolFd, usage, inputs, readableMode: mode, exact }
  } finally {
    if (!kept) {
      inputs?.close()
      if (outcome.status === 'ok') await releaseSpool(outcome)
    }
  }
}

const HOLDS: Validation = { holds: true }

type Decided = Extract<RunOutcome, { status: 'ok' | 'failed' | 'over-limit' }>

/** The same inputs would bring the same again; a killed worker or a full queue would not. */
function isDecidedByInputs(outcome: RunOutcome): outcome is Decided {
  return outcome.status === 'over-limit'
    ? outcome.limit !== 'queue'
    : outcome.status === 'ok' || outcome.status === 'failed'
}

async function openInputs({ volume, directory, principal }: Job): Promise<InputSession> {
  try {
    return await volume.inputs(directory, principal)
  } catch (error) {
    if (errnoOf(error) !== 'EACCES') throw error
    throw runError(
      'rights',
      `uid ${principal.uid}, for whom the program runs, may not read this directory; let it, or attach the program as somebody who may`,
    )
  }
}
