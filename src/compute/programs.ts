/**
 * The programs of one mount. Those whose tree is not there (a grant that ended, or is not given again
 * yet) are *absent*: they stay in the state, and come back with their tree.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { VfsError } from '../errors.ts'
import type { DirectoryKey, ProgramEntry } from '../file-server/types.ts'
import { AttachedProgram } from './attached-program.ts'
import type { ProgramRecord, RunRecord } from './database.ts'
import type { Engine } from './engine.ts'

/** Directories looked up, and sets restored, at a time. */
const RESTORES_AT_ONCE = 8
/** A directory may come back: a disk that is mounted later, a backup that is played back, a grant. */
const MISSING_GRACE_MS = 30 * 24 * 3600 * 1000
/** Until the runs of a tree that goes are ended; they are killed, so longer means that the machine is
 * very busy. */
const LEAVE_WAIT_MS = 5_000

interface Known {
  readonly states: ReadonlyMap<DirectoryKey, RunRecord['state']>
  readonly versions: ReadonlyMap<DirectoryKey, number>
}

export class Programs {
  readonly #engine: Engine
  readonly #attached = new Map<DirectoryKey, AttachedProgram>()
  readonly #absent = new Set<DirectoryKey>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Absent ones as well. */
  get size(): number {
    return this.#attached.size + this.#absent.size
  }

  get(directory: DirectoryKey): AttachedProgram | undefined {
    return this.#attached.get(directory)
  }

  /** @throws VfsError ENOENT. */
  at(directory: DirectoryKey): AttachedProgram {
    const program = this.#attached.get(directory)
    if (program === undefined) throw new VfsError('ENOENT', 'there is no program here')
    return program
  }

  // ---- start and end -------------------------------------------------------------------------

  /** Tells the file server of all that are stored. */
  async load(): Promise<void> {
    const { database, store, volume } = this.#engine
    const now = Date.now()
    database.dropVersions(now - MISSING_GRACE_MS)
    const known = this.#known()
    for (const record of database.programs()) {
      const { key, missingSinceMs } = record
      if (missingSinceMs !== undefined && missingSinceMs < now - MISSING_GRACE_MS)
        database.detach(key)
      else if (volume.knows(key)) this.#add(record, known)
      else this.#miss(key)
    }
    this.#engine.fileServer?.watchTrees({
      arrived: (has) => this.#arrived(has),
      leaving: (has, why) => this.#leave(has, why),
    })
    await store.removeOthers([...this.#attached.keys(), ...this.#absent])
  }

  /** Publishes what is stored of their results. */
  async restore(): Promise<void> {
    await this.each((program) => this.#restore(program))
  }

  /** Nothing of them is to be had any more. */
  end(why: VfsError): void {
    for (const program of this.#attached.values()) program.end(why)
    this.#attached.clear()
    this.#absent.clear()
  }

  // ---- one of them ---------------------------------------------------------------------------

  /** The one that is there, or one that is not attached yet. */
  prepared(key: DirectoryKey, draft: Omit<ProgramRecord, 'path' | 'broken'>): AttachedProgram {
    const known = this.#attached.get(key)
    if (known !== undefined) return known
    const record = { ...draft, path: undefined, broken: undefined }
    const version = this.#engine.database.version(key)
    return new AttachedProgram(this.#engine, record, { state: 'idle', version, restored: true })
  }

  /** @throws VfsError ESTALE when its tree is gone. */
  attach(program: AttachedProgram, record: ProgramRecord, source: Uint8Array): void {
    const { database, fileServer, volume } = this.#engine
    if (!volume.knows(record.key)) throw new VfsError('ESTALE', 'the directory is gone')
    database.attach(record, source)
    this.#absent.delete(record.key)
    this.#attached.set(record.key, program)
    fileServer?.setProgram(record.key, entryOf(record))
  }

  async remove(directory: DirectoryKey): Promise<void> {
    const { database, fileServer, store } = this.#engine
    const program = this.#attached.get(directory)
    if (program === undefined) return
    database.detach(directory)
    this.#attached.delete(directory)
    program.end(new VfsError('ENOENT', 'the program was removed'))
    fileServer?.setProgram(directory, undefined)
    await store.removeAll(directory)
  }

  /** Some at a time. */
  async each(work: (program: AttachedProgram) => Promise<void>): Promise<void> {
    await inParallel([...this.#attached.values()], RESTORES_AT_ONCE, work)
  }

  // ---- trees that come and go ----------------------------------------------------------------

  async #arrived(has: (key: DirectoryKey) => boolean): Promise<void> {
    const { database, volume } = this.#engine
    const expected = [...this.#absent].filter(has)
    if (expected.length === 0) return
    const known = this.#known()
    const records = new Map(database.programs().map((record) => [record.key, record]))
    const back: AttachedProgram[] = []
    await inParallel(expected, RESTORES_AT_ONCE, async (key) => {
      // Looked at here, so that nobody has to wait for a disk when it is told to the file server.
      const there = await volume.stat(key).then(
        () => true,
        () => false,
      )
      const record = records.get(key)
      // Somebody may have attached another one, or the tree have gone, meanwhile.
      if (!there || record === undefined || !this.#absent.has(key) || !volume.knows(key)) return
      this.#absent.delete(key)
      back.push(this.#add(record, known))
    })
    const restored = inParallel(back, RESTORES_AT_ONCE, (program) => this.#restore(program))
    this.#engine.background('restoring results', restored)
  }

  async #leave(has: (key: DirectoryKey) => boolean, why: VfsError): Promise<void> {
    const { fileServer, once } = this.#engine
    const ends = [...once].filter(({ directory }) => has(directory)).map((run) => run.leave(why))
    for (const [key, program] of this.#attached) {
      if (!has(key)) continue
      this.#attached.delete(key)
      this.#miss(key)
      ends.push(program.leave(why))
      fileServer?.setProgram(key, undefined)
    }
    const late = sleep(LEAVE_WAIT_MS, undefined, { ref: false })
    await Promise.race([Promise.all(ends), late])
  }

  #miss(key: DirectoryKey): void {
    this.#absent.add(key)
    this.#engine.database.located(key, undefined, Date.now())
  }

  /** Of the last runs. */
  #known(): Known {
    const { database } = this.#engine
    database.flush()
    return { states: database.states(), versions: database.versions() }
  }

  #add(record: ProgramRecord, { states, versions }: Known): AttachedProgram {
    const { fileServer, log } = this.#engine
    const { key } = record
    const program = new AttachedProgram(this.#engine, record, {
      state: states.get(key) ?? 'idle',
      version: versions.get(key) ?? 0,
      restored: false,
    })
    this.#attached.set(key, program)
    try {
      fileServer?.setProgram(key, entryOf(record))
    } catch (error) {
      // Its directory is gone, perhaps for a while; the others must still start.
      log.warn({ directory: key, path: record.path, err: error }, 'a program is not shown')
    }
    return program
  }

  async #restore(program: AttachedProgram): Promise<void> {
    const { volume, database, log } = this.#engine
    const { key, path: known, missingSinceMs } = program.record
    try {
      const found = await volume.pathOf(key)
      // Ended meanwhile: the database may be closed.
      if (this.#attached.get(key) !== program) return
      if (found === undefined ? missingSinceMs === undefined : found !== known || missingSinceMs)
        database.located(key, found, Date.now())
      if (found !== undefined) await program.restore()
    } catch (error) {
      log.warn({ path: known, err: error }, 'stored results are not usable')
    }
  }
}

export function entryOf({ sizeBytes, attachedAtMs, principal }: ProgramRecord): ProgramEntry {
  const { uid, gid } = principal
  const mtimeNs = BigInt(attachedAtMs) * 1_000_000n
  return { sizeBytes, mtimeNs, principal: { uid, gid }, writing: false }
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
