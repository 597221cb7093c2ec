import { VfsError, type Errno } from '../errors.ts'
import type { GuestError, LimitName, RunOutcome } from '../sandbox/types.ts'

/** Why a run gave no results; plain data, kept in the state database. */
export interface RunFailure {
  readonly kind:
    | 'compile'
    | 'program' // it threw, or left a promise pending
    | 'limit'
    | 'inputs-changed'
    | 'crashed' // the worker died
    | 'unavailable' // there is no jail here
    | 'cancelled'
    | 'store' // results could not be kept
    | 'rights' // the principal may not be here any more
    | 'revoked' // its tree was taken out of the mount
  readonly name: string
  readonly message: string
  readonly stack: string
  readonly line: number | undefined
  readonly column: number | undefined
  readonly limit: LimitName | undefined
}

/** A run without results, as its looker sees it. */
export class RunError extends VfsError {
  readonly failure: RunFailure

  constructor(code: Errno, failure: RunFailure, options?: ErrorOptions) {
    super(code, `${failure.name}: ${failure.message}`, options)
    this.failure = failure
  }
}

const NAMES: Record<RunFailure['kind'], string> = {
  compile: 'SyntaxError',
  program: 'Error',
  limit: 'LimitError',
  'inputs-changed': 'InputsChangedError',
  crashed: 'WorkerError',
  unavailable: 'UnavailableError',
  cancelled: 'CancelledError',
  store: 'StoreError',
  rights: 'RightsError',
  revoked: 'RevokedError',
}

const ERRNOS: Record<RunFailure['kind'], Errno> = {
  compile: 'EIO',
  program: 'EIO',
  limit: 'EIO',
  'inputs-changed': 'EAGAIN',
  crashed: 'EIO',
  unavailable: 'ENOTSUP',
  cancelled: 'ECANCELED',
  store: 'EIO',
  rights: 'EIO',
  revoked: 'ESTALE',
}

export function runError(
  kind: RunFailure['kind'],
  message: string,
  options?: ErrorOptions & { limit?: LimitName },
): RunError {
  const limit = options?.limit
  return new RunError(
    // Waiting in a queue that is full is no failure of the program: the same look may do later.
    limit === 'queue' ? 'EAGAIN' : ERRNOS[kind],
    { kind, name: NAMES[kind], message, stack: '', line: undefined, column: undefined, limit },
    options?.cause === undefined ? undefined : { cause: options.cause },
  )
}

export function guestRunError(error: GuestError, phase: 'compile' | 'run'): RunError {
  const kind = phase === 'compile' ? 'compile' : 'program'
  return new RunError(ERRNOS[kind], { kind, ...error, limit: undefined })
}

/** The error of a run that was not ok. */
export function outcomeError(outcome: Exclude<RunOutcome, { status: 'ok' }>): RunError {
  switch (outcome.status) {
    case 'failed':
      return guestRunError(outcome.error, outcome.phase)
    case 'over-limit':
      return runError('limit', outcome.message, { limit: outcome.limit })
    case 'cancelled':
      return runError('cancelled', 'the run was cancelled')
    case 'crashed':
      return runError('crashed', outcome.message)
    case 'store-full':
      return runError('store', outcome.message)
    case 'unavailable':
      return runError('unavailable', outcome.message)
  }
}
