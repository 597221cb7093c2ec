/** What is known of the results of one program: the set that is served, the last good one, and a run that
 * failed and would fail again. */
import { setImmediate as afterThis, setTimeout as sleep } from 'node:timers/promises'
import type { DirectoryKey, InputSession, PublishedSet } from '../file-server/types.ts'
import type { ProgramRecord } from './database.ts'
import type { Engine } from './engine.ts'
import type { FreshRun } from './fresh-run.ts'
import type { Holder } from './held-inputs.ts'
import type { Manifest } from './manifest.ts'
import { BOOT_ID, type StoredSet, TIDY_DELAY_MS } from './results-store.ts'
import type { RunError } from './run-error.ts'
import { RUNTIME } from './runtime.ts'
import { isOf, publishedSet } from './stored-set.ts'

/** A run that failed, and would fail again while its inputs hold. */
interface Failure {
  readonly error: RunError
  readonly inputs: InputSession
}

/** Sets on disk: the published one, and the one before, which a reader may be about to open. */
const STORED_SETS = 2

export class ProgramSets implements Holder {
  readonly #engine: Engine
  readonly #key: DirectoryKey
  #version: number
  #current: PublishedSet | undefined
  #last: PublishedSet | undefined
  #failure: Failure | undefined
  #restored: Promise<void> | undefined
  #over = false

  /** `restored`: nothing is stored that could be published. */
  constructor(engine: Engine, key: DirectoryKey, known: { version: number; restored: boolean }) {
    this.#engine = engine
    this.#key = key
    this.#version = known.version
    if (known.restored) this.#restored = Promise.resolve()
  }

  /** Of the newest set, stored or on its way. */
  get version(): number {
    return this.#version
  }

  /** The set that is served if its inputs hold. */
  get current(): PublishedSet | undefined {
    return this.#current
  }

  /** What the last run looked at. */
  get inputs(): InputSession | undefined {
    return this.#failure?.inputs ?? this.#current?.inputs ?? this.#last?.inputs
  }

  /** Throws the error of a failed run that would fail again. `moved`: it changed meanwhile. */
  async isFresh(): Promise<'yes' | 'no' | 'moved'> {
    const current = this.#current
    const failure = this.#failure
    this.#engine.heldInputs.use(this)
    const holds = current !== undefined && (await isUnchanged(current.inputs))
    if (current !== this.#current || failure !== this.#failure) return 'moved'
    if (holds) {
      if (this.#engine.store.has(current)) return 'yes'
      this.#engine.log.warn({ directory: this.#key }, 'stored results are gone: running again')
      this.#publish(undefined, undefined)
      return 'moved'
    }
    const failsAgain = failure !== undefined && (await isUnchanged(failure.inputs))
    if (current !== this.#current || failure !== this.#failure) return 'moved'
    if (failsAgain) throw failure.error
    return 'no'
  }

  /** Publishes what an earlier process stored of `program`. Once; looks wait for it. */
  restore(program: () => ProgramRecord): Promise<void> {
    this.#restored ??= this.#restore(program).catch((error: unknown) => {
      this.#engine.log.warn({ directory: this.#key, err: error }, 'stored results are not usable')
    })
    return this.#restored
  }

  async #restore(program: () => ProgramRecord): Promise<void> {
    const { store, volume } = this.#engine
    const versions = await store.versions(this.#key)
    this.#version = Math.max(this.#version, versions[0] ?? 0)
    let stored: StoredSet | undefined
    for (const version of versions) {
      stored = await store.load(this.#key, version)
      if (stored !== undefined) break
      await store.remove(this.#key, version)
    }
    if (stored === undefined) return
    const { manifest } = stored
    const inputs = await volume.restoreInputs(this.#key, manifest.principal, manifest.inputs)
    this.#engine.heldInputs.measure(inputs, manifest.inputs)
    // Who may search the directories on the way to an input can be others now.
    const mode = manifest.mode & (0o400 | (await readableMode(inputs, manifest)))
    if (this.#over) {
      inputs.close()
      return
    }
    const set = publishedSet({ ...stored, manifest: { ...manifest, mode } }, inputs)
    this.#publish(isOf(program(), manifest) ? set : undefined, set)
  }

  /** Stores what came of a run of `program`, which is restored. Owns nothing of `run`. */
  async store(
    program: ProgramRecord,
    run: FreshRun & { ok: true },
    signal: AbortSignal,
  ): Promise<StoredSet> {
    const { store, limits } = this.#engine
    const { hash, principal } = program
    // Taken before the first await of the store, and never given back.
    const version = (this.#version += 1)
    const now = BigInt(Date.now()) * 1_000_000n
    const last = this.#last?.mtimeNs ?? 0n
    const stored = await store.write(run.results, (results) => ({
      key: this.#key,
      version,
      program: hash,
      principal,
      runtime: RUNTIME,
      limits,
      bootId: BOOT_ID,
      // Tools compare times: a newer set is never as old as the one before.
      mtimeNs: now > last ? now : last + 1n,
      mode: 0o400 | (run.readableMode & 0o044),
      cpuMs: Math.round(run.usage.cpuMs),
      results,
      inputs: run.inputs.identities(),
    }))
    if (signal.aborted) {
      await store.remove(this.#key, version)
      signal.throwIfAborted()
    }
    return stored
  }

  /** Owns the inputs from here. */
  publish(set: PublishedSet): void {
    this.#publish(set, set)
  }

  /** Owns the inputs from here; without them the same look may do later. */
  fail(failure: { error: RunError; inputs: InputSession | undefined } | undefined): void {
    this.#publish(undefined, this.#last)
    this.#failure?.inputs.close()
    const { error, inputs } = failure ?? {}
    this.#failure = error === undefined || inputs === undefined ? undefined : { error, inputs }
    this.#hold()
  }

  /** Whatever is known is no answer any more; `.last` stays. */
  withdraw(): void {
    this.fail(undefined)
  }

  /** What is stored comes back at the next look; what failed is tried again. */
  putAway(): void {
    if (this.#over) return
    this.#failure?.inputs.close()
    this.#failure = undefined
    this.#publish(undefined, undefined)
    this.#restored = undefined
  }

  end(): void {
    this.#over = true
    this.fail(undefined)
    this.#publish(undefined, undefined)
  }

  /** What follows once the answer has been read. */
  async tidy(set: StoredSet): Promise<void> {
    const { store } = this.#engine
    await afterThis()
    await store.keep(set)
    await sleep(TIDY_DELAY_MS)
    for (const version of (await store.versions(this.#key)).slice(STORED_SETS))
      if (version !== this.#last?.version) await store.remove(this.#key, version)
  }

  #publish(current: PublishedSet | undefined, last: PublishedSet | undefined): void {
    if (current === this.#current && last === this.#last) return
    const before = new Set([this.#current, this.#last])
    this.#current = current
    this.#last = last
    if (current !== undefined) {
      this.#failure?.inputs.close()
      this.#failure = undefined
    }
    this.#engine.fileServer?.publish(this.#key, { current, last })
    before.delete(current)
    before.delete(last)
    for (const set of before) set?.inputs.close()
    this.#hold()
  }

  #hold(): void {
    const held = [this.#failure, this.#current, this.#last].flatMap((each) => each?.inputs ?? [])
    this.#engine.heldInputs.hold(this, held)
  }
}

/** Nobody's but the principal's when it cannot be told. */
async function readableMode(inputs: InputSession, { mode, principal }: Manifest): Promise<number> {
  if ((mode & 0o044) === 0) return 0
  return await inputs.readableMode(principal.gid).catch(() => 0)
}

/** A session that cannot say (its directory is gone, it was closed meanwhile) does not hold. */
async function isUnchanged(inputs: InputSession): Promise<boolean> {
  return inputs.validate('look').then(
    (validation) => validation.holds,
    () => false,
  )
}
