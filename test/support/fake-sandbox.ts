/**
 * A Sandbox without workers: the first word of a program's source names a function of the test,
 * which plays the guest.
 */
import type {
  CheckOutcome,
  GuestError,
  Run,
  RunOutcome,
  RunRequest,
  RunResult,
  Sandbox,
} from '../../src/sandbox/types.ts'

export interface FakeRun extends RunRequest {
  /** The whole source. */
  readonly text: string
  /** Aborted when the run is cancelled. */
  readonly signal: AbortSignal
}

/** Results, or another outcome; a thrown error is the guest's. */
export type Guest = (run: FakeRun) => Promise<readonly RunResult[] | RunOutcome>

const USAGE = { wallMs: 1, cpuMs: 1, peakMemoryBytes: 1024 }

export class FakeSandbox implements Sandbox {
  readonly guests: Record<string, Guest>
  runs = 0
  checks = 0
  /** Answers of the next checks, before the usual one. */
  readonly nextChecks: CheckOutcome[] = []
  #going = 0

  constructor(guests: Record<string, Guest>) {
    this.guests = guests
  }

  async check(request: { source: Uint8Array }): Promise<CheckOutcome> {
    this.checks += 1
    const text = Buffer.from(request.source).toString()
    const next = this.nextChecks.shift()
    if (next !== undefined) return next
    return text.startsWith('syntax-error')
      ? { status: 'failed', error: guestError('SyntaxError', 'unexpected token') }
      : { status: 'ok' }
  }

  run(request: RunRequest): Run {
    this.#going += 1
    const abort = new AbortController()
    const cancelled = new Promise<RunOutcome>((resolve) =>
      abort.signal.addEventListener('abort', () => resolve({ status: 'cancelled', usage: USAGE })),
    )
    const outcome = Promise.race([this.#play(request, abort.signal), cancelled]).finally(
      () => (this.#going -= 1),
    )
    const check = (): Promise<CheckOutcome> => this.check(request)
    return {
      outcome,
      // Only who asks is counted.
      get compiled() {
        return check()
      },
      cancel: () => abort.abort(),
    }
  }

  async #play(request: RunRequest, signal: AbortSignal): Promise<RunOutcome> {
    const text = Buffer.from(request.source).toString()
    if (text.startsWith('syntax-error')) {
      const error = guestError('SyntaxError', 'unexpected token')
      return { status: 'failed', phase: 'compile', error, usage: USAGE }
    }
    this.runs += 1
    const guest = this.guests[text.split(' ', 1)[0] ?? '']
    if (guest === undefined) throw new Error(`no guest for ${text}`)
    try {
      const played = await guest({ ...request, text, signal })
      if ('status' in played) return played
      return { status: 'ok', results: played, spoolFd: undefined, usage: USAGE }
    } catch (error) {
      const { name, message } = error as Error
      return { status: 'failed', phase: 'run', error: guestError(name, message), usage: USAGE }
    }
  }

  warm(): void {}

  statistics() {
    return { workers: 1, idle: 1, runs: this.#going, queued: 0, kills: 0 }
  }

  async close(): Promise<void> {}
}

export function guestError(name: string, message: string): GuestError {
  return { name, message, stack: `${name}: ${message}\n    at .compute:3:7`, line: 3, column: 7 }
}

export function overLimit(limit: 'wall' | 'memory' | 'queue', message: string): RunOutcome {
  return { status: 'over-limit', limit, message, usage: USAGE }
}

export function crashed(message: string): RunOutcome {
  return { status: 'crashed', message, usage: USAGE }
}

/** An inline result. */
export function text(name: string, content: string): RunResult {
  return { name, bytes: Buffer.from(content) }
}
