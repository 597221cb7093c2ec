import { hash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DEFAULT_COMPUTE_LIMITS, type ComputeLimits } from '../config/limits.ts'
import type {
  ControlName,
  DirectoryKey,
  FileServer,
  InputIdentity,
  Principal,
  ProgramEntry,
  Volume,
} from '../file-server/types.ts'
import { VfsError } from '../errors.ts'
import { Turns } from '../turns.ts'
import type { GuestError, RunLimits, RunResult, Sandbox, Usage } from '../sandbox/types.ts'
import { chooseAnswer } from './answer.ts'
import type { AttachedProgram } from './attached-program.ts'
import { checkSize, compileError } from './compile.ts'
import { Database } from './database.ts'
import type { Engine, Log } from './engine.ts'
import { FORESEEN_BYTES, ForeseenRun, isSame, type Attempt } from './foreseen.ts'
import { HeldInputs } from './held-inputs.ts'
import { runOnce, type Once } from './run-once.ts'
import { entryOf, Programs } from './programs.ts'
import { describeError, describeInputPaths, describeStatus } from './report.ts'
import { readResult, writeResults } from './result-files.ts'
import { ResultsStore, type StoreOptions } from './results-store.ts'
import { refusal } from './rights.ts'
import { Scheduler } from './scheduler.ts'
import type {
  Compute,
  Evaluation,
  ProgramStatus,
  ProgramSummary,
  QueryAnswer,
  StageOptions,
  StageOutcome,
} from './types.ts'

export interface ComputeOptions {
  readonly volume: Volume
  /** Undefined: nothing is mounted. Used from `start` on. */
  readonly fileServer?: Pick<FileServer, 'setProgram' | 'publish' | 'watchTrees'> | undefined
  readonly sandbox: Sandbox
  /** Of this volume alone; made if it is not there. */
  readonly stateDirectory: string
  readonly limits: RunLimits
  readonly bounds?: ComputeLimits
  readonly tenant: string
  readonly log: Log
  readonly store?: Partial<StoreOptions>
}

/** How long a start waits for stored results, so that those of a few programs are there at once. */
const RESTORE_WAIT_MS = 250

export class ProgramEngine implements Compute {
  readonly #options: ComputeOptions
  readonly #bounds: ComputeLimits
  /** Attaching and detaching in one directory: the last one wins. */
  readonly #turns = new Turns<DirectoryKey>()
  readonly #background = new Set<Promise<unknown>>()
  readonly #inputTexts = new WeakMap<readonly InputIdentity[], string>()
  #started: { readonly engine: Engine; readonly programs: Programs } | undefined

  constructor(options: ComputeOptions) {
    this.#options = options
    this.#bounds = options.bounds ?? DEFAULT_COMPUTE_LIMITS
  }

  get #running(): { readonly engine: Engine; readonly programs: Programs } {
    if (this.#started === undefined)
      throw new VfsError('ECANCELED', 'programs cannot be used before the start or after the end')
    return this.#started
  }

  get #engine(): Engine {
    return this.#running.engine
  }

  // ---- start and end -------------------------------------------------------------------------

  async start(): Promise<void> {
    const { stateDirectory, volume, fileServer, sandbox, tenant, limits, log } = this.#options
    await mkdir(stateDirectory, { recursive: true, mode: 0o700 })
    const database = new Database(
      path.join(stateDirectory, 'programs.db'),
      (error) => log.warn({ err: error }, 'the last runs could not be recorded'),
      this.#bounds,
    )
    try {
      const store = new ResultsStore(path.join(stateDirectory, 'results'), {
        bytes: this.#bounds.storedBytes,
        ...this.#options.store,
      })
      const engine: Engine = {
        volume,
        fileServer,
        sandbox,
        database,
        store,
        scheduler: new Scheduler(this.#bounds),
        heldInputs: new HeldInputs(this.#bounds.heldInputBytes),
        once: new Set(),
        tenant,
        limits,
        log,
        background: (what, work) => this.#track(what, work),
      }
      await store.open()
      const programs = new Programs(engine)
      this.#started = { engine, programs }
      await programs.load()
    } catch (error) {
      this.#started = undefined
      database.close()
      throw error
    }
    const restored = this.#running.programs.restore()
    this.#track('restoring results', restored)
    await Promise.race([restored, sleep(RESTORE_WAIT_MS, undefined, { ref: false })])
  }

  #track(what: string, work: Promise<unknown>): void {
    const tracked = work
      .catch((error: unknown) => this.#options.log.warn({ err: error }, `${what} failed`))
      .finally(() => this.#background.delete(tracked))
    this.#background.add(tracked)
  }

  async close(): Promise<void> {
    const started = this.#started
    if (started === undefined) return
    this.#started = undefined
    started.programs.end(new VfsError('ECANCELED', 'insitu is being unmounted'))
    while (this.#background.size > 0) await Promise.all(this.#background)
    await started.engine.store.close()
    started.engine.database.close()
  }

  // ---- attaching -----------------------------------------------------------------------------

  async mayAttach(directory: DirectoryKey, principal: Principal): Promise<void> {
    await this.#checkRights(directory, principal)
    // Whoever asks is about to write a program.
    this.#engine.sandbox.warm(this.#engine.tenant, principal)
  }

  /** Where the directory is now, if the principal may change its program. */
  async #checkRights(directory: DirectoryKey, principal: Principal): Promise<string | undefined> {
    const survey = await this.#engine.volume.survey(directory, principal)
    const owner = this.#find(directory)?.record.principal.uid
    const refused = refusal(survey, survey.mayChange, principal, owner)
    if (refused !== undefined) throw refused
    return survey.path
  }

  foresee(
    directory: DirectoryKey,
    bytes: Uint8Array,
    principal: Principal,
  ): ForeseenRun | undefined {
    if (bytes.length > Math.min(FORESEEN_BYTES, this.#options.limits.programBytes)) return undefined
    const source = new Uint8Array(bytes)
    try {
      const attempt = this.#attempt(directory, source, hash('sha256', source, 'hex'), principal)
      const { known, draft } = attempt
      if (known !== undefined && isSame(known.record, draft)) return undefined
      const trial = attempt.attached.tryOut(draft, source)
      return trial && new ForeseenRun({ ...attempt, trial })
    } catch {
      return undefined // whatever it is, staging says it
    }
  }

  stage(
    directory: DirectoryKey,
    bytes: Uint8Array,
    principal: Principal,
    options?: StageOptions,
  ): Promise<StageOutcome> {
    // The caller's buffer may be written on while the program is compiled.
    const source = new Uint8Array(bytes)
    return this.#turns.take(directory, () => this.#stage(directory, source, principal, options))
  }

  async #stage(
    directory: DirectoryKey,
    source: Uint8Array,
    principal: Principal,
    options: StageOptions | undefined,
  ): Promise<StageOutcome> {
    checkSize(source, this.#options.limits)
    const { programs } = this.#running
    const program = hash('sha256', source, 'hex')
    const attempt = this.#attempt(directory, source, program, principal)
    const { known } = attempt
    if (known !== undefined && isSame(known.record, attempt.draft)) {
      await this.#checkRights(directory, principal)
      const { broken } = known.record
      return broken === undefined ? { status: 'unchanged' } : { status: 'broken', error: broken }
    }
    if (known === undefined && programs.size >= this.#bounds.programs)
      throw new VfsError(
        'EDQUOT',
        `there are ${this.#bounds.programs} programs already; remove one, or raise the limit`,
      )
    this.#engine.database.checkRoom(attempt.draft)
    const begun = options?.foreseen instanceof ForeseenRun && options.foreseen.take(attempt)
    const { attached, draft, trial } = begun || {
      ...attempt,
      trial: attempt.attached.tryOut(attempt.draft, source),
    }
    let taken = false
    try {
      const [where, broken] = await Promise.all([
        this.#checkRights(directory, principal),
        trial?.compiled.then(compileError) ?? this.#compile(source, principal),
      ])
      if (where === undefined) throw new VfsError('ENOENT', 'the directory is gone')
      if (broken !== undefined && options?.keepBroken?.() === false)
        return { status: 'broken', error: broken }
      const record = { ...draft, path: where, broken }
      programs.attach(attached, record, source)
      attached.replace(record, source, trial)
      taken = broken === undefined
      return broken === undefined ? { status: 'attached' } : { status: 'broken', error: broken }
    } finally {
      if (!taken) trial?.drop()
    }
  }

  #attempt(
    directory: DirectoryKey,
    source: Uint8Array,
    program: string,
    { uid, gid, groups }: Principal,
  ): Attempt {
    const draft = {
      key: directory,
      hash: program,
      sizeBytes: source.length,
      principal: { uid, gid, groups: [...groups] },
      attachedAtMs: Date.now(),
      missingSinceMs: undefined,
    }
    const { programs } = this.#running
    return { known: programs.get(directory), draft, attached: programs.prepared(directory, draft) }
  }

  /** Why it does not compile, if it does not. */
  async #compile(source: Uint8Array, principal: Principal): Promise<GuestError | undefined> {
    const { sandbox, tenant, limits } = this.#engine
    return compileError(await sandbox.check({ tenant, principal, source, limits }))
  }

  detach(directory: DirectoryKey, principal: Principal): Promise<void> {
    return this.#turns.take(directory, async () => {
      const { programs } = this.#running
      programs.at(directory)
      await this.#checkRights(directory, principal)
      await programs.remove(directory)
    })
  }

  forget(directory: DirectoryKey): Promise<void> {
    return this.#turns.take(directory, () => this.#running.programs.remove(directory))
  }

  /** Undefined also before the start and after the end. */
  #find(directory: DirectoryKey): AttachedProgram | undefined {
    return this.#started?.programs.get(directory)
  }

  // ---- what is attached ----------------------------------------------------------------------

  entry(directory: DirectoryKey): ProgramEntry | undefined {
    const program = this.#find(directory)
    return program && entryOf(program.record)
  }

  source(directory: DirectoryKey): Uint8Array | undefined {
    return this.#find(directory) !== undefined ? this.#engine.database.source(directory) : undefined
  }

  async mayReadProgram(directory: DirectoryKey, reader: Principal): Promise<boolean> {
    if (this.#find(directory)?.record.principal.uid === reader.uid) return true
    return this.#engine.volume.access(directory, reader, 'r')
  }

  mayReadControl(directory: DirectoryKey, name: ControlName, reader: Principal): boolean {
    const program = this.#find(directory)
    if (program === undefined || [0, program.record.principal.uid].includes(reader.uid)) return true
    const { current, active } = program
    if (current === undefined || (active !== undefined && name === '.log')) return false
    const member = [reader.gid, ...reader.groups].includes(current.gid)
    return (current.mode & (member ? 0o040 : 0o004)) !== 0
  }

  async resolve(directory: DirectoryKey, signal: AbortSignal): Promise<void> {
    await this.#running.programs.at(directory).resolve(signal)
  }

  status(directory: DirectoryKey): ProgramStatus | undefined {
    const program = this.#find(directory)
    return program && describeStatus(program, this.#engine.database.run(directory))
  }

  log(directory: DirectoryKey): Uint8Array {
    const program = this.#find(directory)
    if (program === undefined) return new Uint8Array()
    return program.active?.log.bytes() ?? this.#engine.database.log(directory)
  }

  error(directory: DirectoryKey): string {
    const program = this.#find(directory)
    return program === undefined ? '' : describeError(program, this.#engine.database.run(directory))
  }

  inputs(directory: DirectoryKey): string {
    const identities = this.#find(directory)?.inputs?.identities() ?? []
    // Each stat of the file asks for its size, and there may be a hundred thousand lines.
    const known = this.#inputTexts.get(identities)
    if (known !== undefined) return known
    const text = describeInputPaths(identities)
    this.#inputTexts.set(identities, text)
    return text
  }

  async control(
    directory: DirectoryKey,
    command: 'cancel' | 'rerun',
    principal: Principal,
  ): Promise<void> {
    const program = this.#running.programs.at(directory)
    if (program.record.principal.uid !== principal.uid)
      await this.#checkRights(directory, principal)
    if (command === 'cancel') program.cancel()
    else program.rerun()
  }

  async list(): Promise<readonly ProgramSummary[]> {
    const { engine, programs } = this.#running
    const summaries: ProgramSummary[] = []
    await programs.each(async (program) => {
      const { key, hash: digest, sizeBytes, principal } = program.record
      const found = await engine.volume.pathOf(key)
      const { state } = program
      summaries.push({ directory: key, path: found, state, program: digest, sizeBytes, principal })
    })
    return summaries.toSorted((a, b) => (a.path ?? '').localeCompare(b.path ?? ''))
  }

  // ---- programs that are attached nowhere ----------------------------------------------------

  async query(
    directory: DirectoryKey,
    source: Uint8Array,
    principal: Principal,
    signal: AbortSignal,
  ): Promise<QueryAnswer> {
    const ask = { directory, source, principal, signal, onLog: () => undefined }
    const { value } = await this.#runOnce(ask, async (results) => {
      const answer = chooseAnswer(results)
      return answer === undefined ? new Uint8Array() : readResult(answer)
    })
    return { bytes: value }
  }

  async evaluate(
    directory: DirectoryKey,
    source: Uint8Array,
    principal: Principal,
    options: { folder: string; signal: AbortSignal; onLog: (text: string) => void },
  ): Promise<Evaluation> {
    const { folder, signal, onLog } = options
    const ask = { directory, source, principal, signal, onLog }
    const { value, usage } = await this.#runOnce(ask, (results) => writeResults(results, folder))
    return { results: value.map(({ name, sizeBytes }) => ({ name, sizeBytes })), usage }
  }

  #runOnce<T>(
    ask: Omit<Once, 'source' | 'library'> & { source: Uint8Array },
    take: (results: readonly RunResult[]) => Promise<T>,
  ): Promise<{ value: T; usage: Usage }> {
    checkSize(ask.source, this.#options.limits)
    const source = new Uint8Array(ask.source)
    const library = this.source(ask.directory)
    return runOnce(this.#engine, { ...ask, source, library }, take)
  }
}
