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
import type {
  CheckOutcome,
  GuestError,
  RunLimits,
  RunResult,
  Sandbox,
  Usage,
} from '../sandbox/types.ts'
import { chooseAnswer } from './answer.ts'
import type { Trial } from './active-run.ts'
import { AttachedProgram } from './attached-program.ts'
import { Database, type ProgramRecord } from './database.ts'
import type { Engine, Log } from './engine.ts'
import { runOnce, type Once } from './run-once.ts'
import { describeError, describeInputPaths, describeStatus } from './report.ts'
import { readResult, writeResults } from './result-files.ts'
import { ResultsStore, type StoreOptions } from './results-store.ts'
import { refusal } from './rights.ts'
import { Scheduler } from './scheduler.ts'
import { Turns } from './turns.ts'
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
  readonly fileServer?: Pick<FileServer, 'setProgram' | 'publish'> | undefined
  readonly sandbox: Sandbox
  /** Of this volume alone; made if it is not there. */
  readonly stateDirectory: string
  readonly limits: RunLimits
  readonly bounds?: ComputeLimits
  readonly tenant: string
  readonly log: Log
  readonly store?: StoreOptions
}

/** How long a start waits for stored results, so that those of a few programs are there at once. */
const RESTORE_WAIT_MS = 250
/** Directories looked up, and sets restored, at a time. */
const RESTORES_AT_ONCE = 8
/** A directory may come back: a disk that is mounted later, a backup that is played back. */
const MISSING_GRACE_MS = 30 * 24 * 3600 * 1000

export class ProgramEngine implements Compute {
  readonly #options: ComputeOptions
  readonly #bounds: ComputeLimits
  readonly #programs = new Map<DirectoryKey, AttachedProgram>()
  /** Attaching and detaching in one directory: the last one wins. */
  readonly #turns = new Turns<DirectoryKey>()
  readonly #background = new Set<Promise<unknown>>()
  readonly #inputTexts = new WeakMap<readonly InputIdentity[], string>()
  #started: Engine | undefined

  constructor(options: ComputeOptions) {
    this.#options = options
    this.#bounds = options.bounds ?? DEFAULT_COMPUTE_LIMITS
  }

  get #engine(): Engine {
    if (this.#started === undefined)
      throw new VfsError('ECANCELED', 'programs cannot be used before the start or after the end')
    return this.#started
  }

  // ---- start and end -------------------------------------------------------------------------

  async start(): Promise<void> {
    const { stateDirectory, volume, fileServer, sandbox, tenant, limits, log } = this.#options
    await mkdir(stateDirectory, { recursive: true, mode: 0o700 })
    const database = new Database(path.join(stateDirectory, 'programs.db'), (error) =>
      log.warn({ err: error }, 'the last runs could not be recorded'),
    )
    try {
      const store = new ResultsStore(path.join(stateDirectory, 'results'), this.#options.store)
      this.#started = {
        volume,
        fileServer,
        sandbox,
        database,
        store,
        scheduler: new Scheduler(this.#bounds),
        tenant,
        limits,
        log,
        background: (what, work) => this.#track(what, work),
      }
      await store.open()
      this.#load()
      await store.removeOthers(this.#programs.keys())
    } catch (error) {
      this.#started = undefined
      database.close()
      throw error
    }
    const restored = this.#restoreAll()
    this.#track('restoring results', restored)
    await Promise.race([restored, sleep(RESTORE_WAIT_MS, undefined, { ref: false })])
  }

  #load(): void {
    const { database } = this.#engine
    const now = Date.now()
    database.dropVersions(now - MISSING_GRACE_MS)
    const states = database.states()
    const versions = database.versions()
    for (const record of database.programs()) {
      const { key, missingSinceMs } = record
      if (missingSinceMs !== undefined && missingSinceMs < now - MISSING_GRACE_MS) {
        database.detach(key)
        continue
      }
      const state = states.get(key) ?? 'idle'
      const version = versions.get(key) ?? 0
      this.#programs.set(
        key,
        new AttachedProgram(this.#engine, record, { state, version, restored: false }),
      )
      this.#announce(record)
    }
  }

  async #restoreAll(): Promise<void> {
    await inParallel([...this.#programs.values()], RESTORES_AT_ONCE, (program) =>
      this.#restore(program).catch((error: unknown) => {
        const { path: where } = program.record
        this.#options.log.warn({ path: where, err: error }, 'stored results are not usable')
      }),
    )
  }

  async #restore(program: AttachedProgram): Promise<void> {
    if (this.#started === undefined) return
    const { volume, database } = this.#started
    const { key, path: known, missingSinceMs } = program.record
    const found = await volume.pathOf(key)
    if (found === undefined ? missingSinceMs === undefined : found !== known || missingSinceMs)
      database.located(key, found, Date.now())
    if (found !== undefined) await program.restore()
  }

  #announce(record: ProgramRecord): void {
    const { fileServer, log } = this.#engine
    try {
      fileServer?.setProgram(record.key, entryOf(record))
    } catch (error) {
      // Its directory is gone, perhaps for a while; the others must still start.
      log.warn({ directory: record.key, path: record.path, err: error }, 'a program is not shown')
    }
  }

  #track(what: string, work: Promise<unknown>): void {
    const tracked = work
      .catch((error: unknown) => this.#options.log.warn({ err: error }, `${what} failed`))
      .finally(() => this.#background.delete(tracked))
    this.#background.add(tracked)
  }

  async close(): Promise<void> {
    const engine = this.#started
    if (engine === undefined) return
    this.#started = undefined
    for (const program of this.#programs.values())
      program.end(new VfsError('ECANCELED', 'insitu is being unmounted'))
    this.#programs.clear()
    while (this.#background.size > 0) await Promise.all(this.#background)
    await engine.store.close()
    engine.database.close()
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
    const owner = this.#programs.get(directory)?.record.principal.uid
    const refused = refusal(survey, survey.mayChange, principal, owner)
    if (refused !== undefined) throw refused
    return survey.path
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
    this.#checkSize(source)
    const program = hash('sha256', source, 'hex')
    const known = this.#programs.get(directory)
    if (known !== undefined && isSame(known.record, program, principal)) {
      await this.#checkRights(directory, principal)
      const { broken } = known.record
      return broken === undefined ? { status: 'unchanged' } : { status: 'broken', error: broken }
    }
    if (known === undefined && this.#programs.size >= this.#bounds.programs)
      throw new VfsError(
        'EDQUOT',
        `there are ${this.#bounds.programs} programs already; remove one, or raise the limit`,
      )
    const { uid, gid, groups } = principal
    const draft = {
      key: directory,
      hash: program,
      sizeBytes: source.length,
      principal: { uid, gid, groups: [...groups] },
      attachedAtMs: Date.now(),
      missingSinceMs: undefined,
    }
    const attached = known ?? this.#unattached(directory, draft)
    const trial = attached.tryOut(draft, source)
    let taken = false
    try {
      const [where, broken] = await Promise.all([
        this.#checkRights(directory, principal),
        trial?.compiled.then(compileError) ?? this.#compile(source, principal),
      ])
      if (where === undefined) throw new VfsError('ENOENT', 'the directory is gone')
      if (broken !== undefined && options?.keepBroken?.() === false)
        return { status: 'broken', error: broken }
      this.#attach(attached, { ...draft, path: where, broken }, source, trial)
      taken = broken === undefined
      return broken === undefined ? { status: 'attached' } : { status: 'broken', error: broken }
    } finally {
      if (!taken) trial?.drop()
    }
  }

  #checkSize(source: Uint8Array): void {
    const { programBytes } = this.#options.limits
    if (source.length > programBytes)
      throw new VfsError(
        'EFBIG',
        `the program has ${source.length} bytes, more than the ${programBytes} that are allowed; make it smaller, or raise the limit`,
      )
  }

  /** Why it does not compile, if it does not. */
  async #compile(source: Uint8Array, principal: Principal): Promise<GuestError | undefined> {
    const { sandbox, tenant, limits } = this.#engine
    return compileError(await sandbox.check({ tenant, principal, source, limits }))
  }

  #unattached(key: DirectoryKey, draft: Omit<ProgramRecord, 'path' | 'broken'>): AttachedProgram {
    const record = { ...draft, path: undefined, broken: undefined }
    const version = this.#engine.database.version(key)
    return new AttachedProgram(this.#engine, record, { state: 'idle', version, restored: true })
  }

  #attach(
    program: AttachedProgram,
    record: ProgramRecord,
    source: Uint8Array,
    trial: Trial | undefined,
  ): void {
    const engine = this.#engine
    engine.database.attach(record, source)
    this.#programs.set(record.key, program)
    engine.fileServer?.setProgram(record.key, entryOf(record))
    program.replace(record, source, trial)
  }

  detach(directory: DirectoryKey, principal: Principal): Promise<void> {
    return this.#turns.take(directory, async () => {
      this.#attached(directory)
      await this.#checkRights(directory, principal)
      await this.#drop(directory)
    })
  }

  forget(directory: DirectoryKey): Promise<void> {
    return this.#turns.take(directory, () => this.#drop(directory))
  }

  async #drop(directory: DirectoryKey): Promise<void> {
    const { database, fileServer, store } = this.#engine
    const program = this.#programs.get(directory)
    if (program === undefined) return
    database.detach(directory)
    this.#programs.delete(directory)
    program.end(new VfsError('ENOENT', 'the program was removed'))
    fileServer?.setProgram(directory, undefined)
    await store.removeAll(directory)
  }

  #attached(directory: DirectoryKey): AttachedProgram {
    const program = this.#programs.get(directory)
    if (program === undefined) throw new VfsError('ENOENT', 'there is no program here')
    return program
  }

  // ---- what is attached ----------------------------------------------------------------------

  entry(directory: DirectoryKey): ProgramEntry | undefined {
    const program = this.#programs.get(directory)
    return program && entryOf(program.record)
  }

  source(directory: DirectoryKey): Uint8Array | undefined {
    return this.#programs.has(directory) ? this.#engine.database.source(directory) : undefined
  }

  async mayReadProgram(directory: DirectoryKey, reader: Principal): Promise<boolean> {
    if (this.#programs.get(directory)?.record.principal.uid === reader.uid) return true
    return this.#engine.volume.access(directory, reader, 'r')
  }

  mayReadControl(directory: DirectoryKey, name: ControlName, reader: Principal): boolean {
    const program = this.#programs.get(directory)
    if (program === undefined || [0, program.record.principal.uid].includes(reader.uid)) return true
    const { current, active } = program
    if (current === undefined || (active !== undefined && name === '.log')) return false
    const member = [reader.gid, ...reader.groups].includes(current.gid)
    return (current.mode & (member ? 0o040 : 0o004)) !== 0
  }

  async resolve(directory: DirectoryKey, signal: AbortSignal): Promise<void> {
    await this.#attached(directory).resolve(signal)
  }

  status(directory: DirectoryKey): ProgramStatus | undefined {
    const program = this.#programs.get(directory)
    return program && describeStatus(program, this.#engine.database.run(directory))
  }

  log(directory: DirectoryKey): Uint8Array {
    const program = this.#programs.get(directory)
    if (program === undefined) return new Uint8Array()
    return program.active?.log.bytes() ?? this.#engine.database.log(directory)
  }

  error(directory: DirectoryKey): string {
    const program = this.#programs.get(directory)
    return program === undefined ? '' : describeError(program, this.#engine.database.run(directory))
  }

  inputs(directory: DirectoryKey): string {
    const identities = this.#programs.get(directory)?.inputs?.identities() ?? []
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
    const program = this.#attached(directory)
    if (program.record.principal.uid !== principal.uid)
      await this.#checkRights(directory, principal)
    if (command === 'cancel') program.cancel()
    else program.rerun()
  }

  async list(): Promise<readonly ProgramSummary[]> {
    const { volume } = this.#engine
    const summaries: ProgramSummary[] = []
    await inParallel([...this.#programs.values()], RESTORES_AT_ONCE, async (program) => {
      const { key, hash: digest, sizeBytes, principal } = program.record
      const found = await volume.pathOf(key)
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
    this.#checkSize(ask.source)
    const source = new Uint8Array(ask.source)
    const library = this.source(ask.directory)
    return runOnce(this.#engine, { ...ask, source, library }, take)
  }
}

/** Why a program does not compile, if it does not. Throws where that is not known. */
function compileError(outcome: CheckOutcome): GuestError | undefined {
  switch (outcome.status) {
    case 'ok':
      return undefined
    case 'failed':
      return outcome.error
    case 'over-limit':
      if (outcome.limit === 'queue') throw new VfsError('EAGAIN', outcome.message)
      return {
        name: 'LimitError',
        message: outcome.message,
        stack: '',
        line: undefined,
        column: undefined,
      }
    case 'crashed':
      throw new VfsError('EIO', `the program was not compiled: ${outcome.message}; try again`)
    case 'unavailable':
      throw new VfsError('ENOTSUP', outcome.message)
  }
}

function entryOf({ sizeBytes, attachedAtMs, principal }: ProgramRecord): ProgramEntry {
  const { uid, gid } = principal
  const mtimeNs = BigInt(attachedAtMs) * 1_000_000n
  return { sizeBytes, mtimeNs, principal: { uid, gid }, writing: false }
}

function isSame(record: ProgramRecord, program: string, principal: Principal): boolean {
  return (
    record.hash === program &&
    record.principal.uid === principal.uid &&
    record.principal.gid === principal.gid &&
    String(record.principal.groups) === String(principal.groups)
  )
}

async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values()
  await Promise.all(
    Array.from({ length: Math.min(atOnce, items.length) }, async () => {
      for (const item of rest) await work(item)
    }),
  )
}
