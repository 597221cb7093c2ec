/** Runs hostile programs, each in a jailed worker process (docs/sandbox.md). */
import { tmpdir } from 'node:os'
import type { Principal } from '../file-server/types.ts'
import { DEFAULT_RUN_LIMITS } from '../config/limits.ts'
import { type Answer, compile, Conversation } from './conversation.ts'
import { holds, type Job, type Member, ownerOf, Pool, PoolRefusal } from './pool.ts'
import type {
  CheckOutcome,
  GuestError,
  LimitName,
  Run,
  RunLimits,
  RunOutcome,
  RunRequest,
  Sandbox,
  SandboxOptions,
  Usage,
} from './types.ts'
import { Watch } from './watch.ts'
import { type Death, Worker, WorkerDeath } from './worker.ts'

export { type JailReport, probeJail } from './probe.ts'

const NO_USAGE: Usage = { wallMs: 0, cpuMs: 0, peakMemoryBytes: 0 }

/** `launch`: what starts a worker; tests put a hostile one in its place. */
export function createSandbox(options: SandboxOptions, launch = Worker.launch): Sandbox {
  return new WorkerSandbox(options, launch)
}

type Asked = Pick<RunRequest, 'tenant' | 'principal' | 'source' | 'limits'> & {
  readonly library: Uint8Array | undefined
}

class WorkerSandbox implements Sandbox {
  readonly #pool: Pool
  readonly #watch = new Watch()
  readonly #spoolDirectory: string
  #kills = 0

  constructor(options: SandboxOptions, launch: typeof Worker.launch) {
    this.#pool = new Pool(options, options.warmLimits ?? DEFAULT_RUN_LIMITS, launch)
    this.#spoolDirectory = options.spoolDirectory ?? tmpdir()
  }

  async check(request: Omit<Asked, 'library'>): Promise<CheckOutcome> {
    const { outcome } = this.#perform({ ...request, library: undefined }, undefined)
    return checkOf(await outcome)
  }

  run(request: RunRequest): Run {
    return this.#perform(request, request)
  }

  warm(tenant: string, principal: Principal): void {
    this.#pool.warm(ownerOf(tenant, principal))
  }

  statistics(): ReturnType<Sandbox['statistics']> {
    return { ...this.#pool.statistics(), kills: this.#kills }
  }

  close(): Promise<void> {
    return this.#pool.close()
  }

  /** Compiles in a worker, unless that very program is compiled there, and then runs it, if `request`
   * says how. */
  #perform(asked: Asked, request: RunRequest | undefined): Run {
    const compiled = Promise.withResolvers<CheckOutcome>()
    let ended = false
    const run = (outcome: Promise<RunOutcome>, cancel: () => void): Run => ({
      outcome: outcome.then((known) => {
        ended = true
        compiled.resolve(checkOf(known))
        return known
      }),
      compiled: compiled.promise,
      // The worker may be another run's by then.
      cancel: () => {
        if (!ended) cancel()
      },
    })
    const tooLarge = overProgramLimit(asked)
    if (tooLarge !== undefined)
      return run(Promise.resolve({ ...tooLarge, usage: NO_USAGE }), () => undefined)

    const { tenant, source, library } = asked
    const owner = ownerOf(tenant, asked.principal)
    const job = { tenant, owner, source, library }
    const ticket = this.#pool.take(job)
    let worker: Worker | undefined
    const converse = async (): Promise<RunOutcome> => {
      let member: Member
      try {
        member = await ticket.member
      } catch (error) {
        return { ...refused(error), usage: NO_USAGE }
      }
      worker = member.worker
      return this.#converse(member, job, asked.limits, request, () =>
        compiled.resolve({ status: 'ok' }),
      )
    }
    return run(converse(), () => {
      if (!ticket.cancel()) worker?.kill({ kind: 'cancelled' })
    })
  }

  async #converse(
    member: Member,
    job: Job,
    limits: RunLimits,
    request: RunRequest | undefined,
    onCompiled: () => void,
  ): Promise<RunOutcome> {
    // The worker is at work while the watch takes down where it stands.
    const answered = this.#answer(member, job, limits, request, onCompiled)
    const watched = this.#watch.start(member.worker, limits)
    const answer = await answered.catch((error: unknown) => {
      const death =
        error instanceof WorkerDeath
          ? error.death
          : member.worker.kill({ kind: 'crashed', message: sentence(error) }).death
      this.#kills += 1
      return answerOfDeath(death)
    })
    const usage = this.#watch.stop(watched)
    this.#pool.giveBack(member, answer.status === 'ok' || answer.status === 'failed')
    return { ...answer, usage }
  }

  async #answer(
    member: Member,
    job: Job,
    limits: RunLimits,
    request: RunRequest | undefined,
    onCompiled: () => void,
  ): Promise<Answer> {
    const { worker } = member
    const conversation =
      request === undefined ? undefined : new Conversation(worker, request, this.#spoolDirectory)
    const fits = sameLimits(worker.limits, limits)
    if (fits && holds(member, job)) {
      conversation?.begin()
    } else {
      if (!fits || member.loaded !== undefined) await worker.renew(limits)
      member.loaded = undefined
      const { error, retire } = await compile(worker, job.source, job.library, () =>
        conversation?.begin(),
      )
      // With the run under way it is the run's to say.
      if (retire && (error !== undefined || conversation === undefined))
        worker.kill({ kind: 'cancelled' })
      if (error !== undefined) return answerOfError('compile', error)
      member.loaded = job
    }
    onCompiled()
    if (conversation === undefined) return NOTHING_EMITTED
    member.loaded = undefined
    const { answer, retire } = await conversation.hold()
    if (retire) worker.kill({ kind: 'cancelled' })
    return answer.status === 'failed' ? answerOfError('run', answer.error) : answer
  }
}

const NOTHING_EMITTED: Answer = { status: 'ok', results: [], spoolFd: undefined }

/** What an outcome tells of compiling alone. */
function checkOf(outcome: RunOutcome): CheckOutcome {
  switch (outcome.status) {
    case 'ok':
      return { status: 'ok' }
    case 'failed':
      return outcome.phase === 'run' ? { status: 'ok' } : { status: 'failed', error: outcome.error }
    case 'over-limit':
      return { status: 'over-limit', limit: outcome.limit, message: outcome.message }
    case 'cancelled':
      return { status: 'crashed', message: 'it was cancelled, or the sandbox was closed' }
    case 'crashed':
    case 'unavailable':
      return { status: outcome.status, message: outcome.message }
    case 'store-full':
      return { status: 'crashed', message: outcome.message } // compiling emits nothing
  }
}

function overProgramLimit({ source, library, limits }: Asked): Answer | undefined {
  const sizeBytes = Math.max(source.length, library?.length ?? 0)
  if (sizeBytes <= limits.programBytes) return undefined
  const message = `the program has ${sizeBytes} bytes, and ${limits.programBytes} are allowed`
  return { status: 'over-limit', limit: 'program', message }
}

/** Two errors are not the program's but of what holds it (src/worker/guest). A program may name its
 * own errors so too: it is then reported as over a limit, which harms nobody but itself. */
function answerOfError(phase: 'compile' | 'run', error: GuestError): Answer {
  const limit = LIMIT_ERRORS.get(error.name)
  if (limit !== undefined) return { status: 'over-limit', limit, message: error.message }
  return { status: 'failed', phase, error }
}

const LIMIT_ERRORS = new Map<string, LimitName>([
  ['MemoryLimitError', 'memory'],
  ['TimeLimitError', 'wall'],
])

function answerOfDeath(death: Death): Answer {
  switch (death.kind) {
    case 'limit':
      return { status: 'over-limit', limit: death.limit, message: death.message }
    case 'cancelled':
      return { status: 'cancelled' }
    case 'crashed':
    case 'store-full':
      return { status: death.kind, message: death.message }
    case 'not-launched':
      return { status: 'unavailable', message: death.message }
  }
}

function refused(error: unknown): Answer {
  if (!(error instanceof PoolRefusal)) return { status: 'crashed', message: sentence(error) }
  switch (error.reason) {
    case 'queue':
      return { status: 'over-limit', limit: 'queue', message: error.message }
    case 'unavailable':
      return { status: 'unavailable', message: `no worker can be started: ${error.message}` }
    case 'cancelled':
      return { status: 'cancelled' }
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function sameLimits(a: RunLimits, b: RunLimits): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}
