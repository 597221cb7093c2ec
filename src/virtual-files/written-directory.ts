import type { Compute, Foreseen, StageOptions } from '../compute/types.ts'
import { VfsError } from '../errors.ts'
import type { DirectoryKey, FileServer, Principal } from '../file-server/types.ts'
import type { ProgramWriter } from './program-writer.ts'

export interface Log {
  warn(fields: object, message: string): void
}

export interface WrittenDirectoryOptions {
  readonly compute: Compute
  readonly fileServer: Pick<FileServer, 'setProgram'>
  readonly log: Log
}

/** A directory whose program is being changed. */
export class WrittenDirectory {
  readonly #key: DirectoryKey
  readonly #options: WrittenDirectoryOptions
  readonly #onIdle: () => void
  readonly #writers = new Set<ProgramWriter>()
  #lastTurn: Promise<void> = Promise.resolve()
  #turns = 0
  #announced = false
  #changes = 0

  constructor(key: DirectoryKey, options: WrittenDirectoryOptions, onIdle: () => void) {
    this.#key = key
    this.#options = options
    this.#onIdle = onIdle
  }

  /** Grows with each change of the program: a truncation older than the last change is void. */
  get changes(): number {
    return this.#changes
  }

  /** @throws what `open` throws. */
  enter(open: (directory: WrittenDirectory) => ProgramWriter): ProgramWriter {
    try {
      const writer = open(this)
      this.#writers.add(writer)
      return writer
    } finally {
      this.#rest()
    }
  }

  leave(writer: ProgramWriter): void {
    this.#writers.delete(writer)
    this.#rest()
  }

  latestWriter(): ProgramWriter | undefined {
    return [...this.#writers].at(-1)
  }

  orphanWriters(): void {
    for (const writer of this.#writers) writer.orphan()
    this.#writers.clear()
  }

  /** Runs `change` after all earlier ones. */
  async inTurn<T>(change: () => Promise<T>): Promise<T> {
    this.#turns += 1
    const turn = this.#lastTurn.then(change)
    this.#lastTurn = turn.then(
      () => {},
      () => {}, // the caller has it; the next turn comes all the same
    )
    try {
      return await turn
    } finally {
      this.#turns -= 1
      this.#rest()
    }
  }

  /**
   * In turn only. `keepBroken`: whether one that does not compile is attached all the same.
   * @throws VfsError ENOEXEC when it does not compile, and as Compute.stage.
   */
  async stage(
    source: Uint8Array,
    principal: Principal,
    { keepBroken = () => true, foreseen }: StageOptions = {},
  ): Promise<void> {
    let refused = false
    const outcome = await this.#options.compute.stage(this.#key, source, principal, {
      keepBroken: () => {
        refused = !keepBroken()
        return !refused
      },
      foreseen,
    })
    if (!refused) this.#changes += 1
    if (outcome.status !== 'broken') return
    const { name, message } = outcome.error
    throw new VfsError('ENOEXEC', `the program does not compile: ${name}: ${message}`)
  }

  foresee(source: Uint8Array, principal: Principal): Foreseen | undefined {
    return this.#options.compute.foresee(this.#key, source, principal)
  }

  /** The program was emptied, at the time of `changes`, by one who may do so. In turn only. */
  async detach(changes: number, principal: Principal): Promise<void> {
    if (changes !== this.#changes || this.#options.compute.entry(this.#key) === undefined) return
    await this.#options.compute.detach(this.#key, principal)
    this.#changes += 1
  }

  warn(error: unknown, message: string): void {
    this.#options.log.warn({ directory: this.#key, error }, message)
  }

  async settled(): Promise<void> {
    await this.#lastTurn
  }

  #rest(): void {
    this.#announce()
    if (this.#writers.size === 0 && this.#turns === 0) this.#onIdle()
  }

  /** `.compute` exists from the first open for writing on, though nothing is attached yet. */
  #announce(): void {
    const { compute, fileServer } = this.#options
    const writer = this.latestWriter()
    if (compute.entry(this.#key) !== undefined) {
      this.#announced = false
    } else if (writer !== undefined) {
      if (this.#announced) return
      const { principal, sizeBytes, mtimeNs } = writer
      fileServer.setProgram(this.#key, { sizeBytes, mtimeNs, principal, writing: true })
      this.#announced = true
    } else if (this.#announced) {
      fileServer.setProgram(this.#key, undefined)
      this.#announced = false
    }
  }
}
