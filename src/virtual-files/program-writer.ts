import { VfsError } from '../errors.ts'
import type { Foreseen } from '../compute/types.ts'
import type { Principal } from '../file-server/types.ts'
import type { Budget } from './byte-budget.ts'
import { OpenFile } from './open-file.ts'
import { ProgramBuffer } from './program-buffer.ts'
import type { WrittenDirectory } from './written-directory.ts'

export interface ProgramWriterOptions {
  readonly directory: WrittenDirectory
  /** Who opened it: on whose rights the program will run, whoever writes or closes. */
  readonly principal: Principal
  /** Opened with O_TRUNC, or created. */
  readonly fresh: boolean
  readonly content: Uint8Array
  readonly maxBytes: number
  readonly budget: Budget
}

/**
 * One open description of `.compute` for writing. What is written becomes the program at the flush
 * that follows; a flush without new bytes is nothing, since shells flush before they write and in
 * the middle. Readers of others see the old program until then.
 */
export class ProgramWriter extends OpenFile {
  readonly #directory: WrittenDirectory
  readonly #principal: Principal
  readonly #buffer: ProgramBuffer
  #mtimeNs = nowNs()
  /** There is something to stage. */
  #changed = false
  /** A write was refused: what is here is not the program that was meant. */
  #incomplete = false
  #orphaned = false
  /** The directory's count of changes when this handle last emptied the file. */
  #emptiedAt: number | undefined
  /** The first bytes are there, and perhaps all: what they do is begun once the write is answered. */
  #foresight: NodeJS.Immediate | undefined
  #foreseen: Foreseen | undefined

  constructor(options: ProgramWriterOptions) {
    super()
    this.#directory = options.directory
    this.#principal = options.principal
    this.#buffer = new ProgramBuffer(options.maxBytes, options.budget, options.content)
    if (options.fresh) this.#emptiedAt = options.directory.changes
  }

  get principal(): Principal {
    return this.#principal
  }

  get sizeBytes(): number {
    return this.#buffer.sizeBytes
  }

  get mtimeNs(): bigint {
    return this.#mtimeNs
  }

  content(): Uint8Array {
    return this.#buffer.content()
  }

  /** The name is another file's now, or nobody's. */
  orphan(): void {
    this.#orphaned = true
    this.#forgetForeseen()
  }

  override async read(offset: number, sizeBytes: number): Promise<Uint8Array> {
    return this.#buffer.read(offset, sizeBytes)
  }

  override async write(offset: number, data: Uint8Array, append: boolean): Promise<void> {
    const first = this.#buffer.sizeBytes === 0
    this.#change(() => this.#buffer.write(append ? this.#buffer.sizeBytes : offset, data))
    if (first) this.#foresight = setImmediate(() => this.#foresee())
  }

  override truncate(sizeBytes: number): void {
    this.#change(() => this.#buffer.truncate(sizeBytes))
    if (sizeBytes > 0) return
    this.#emptiedAt = this.#directory.changes
    this.#incomplete = false
  }

  override async flush(): Promise<void> {
    if (this.#orphaned) return
    if (this.#incomplete)
      throw new VfsError('EFBIG', 'the program was not written in full, so it is not attached')
    if (!this.#changed || this.#buffer.sizeBytes === 0) return
    this.#changed = false
    const source = this.#buffer.content()
    const foreseen = this.#foreseen
    this.#foreseen = undefined
    clearImmediate(this.#foresight)
    await this.#directory.inTurn(async () => {
      if (this.#orphaned) foreseen?.drop()
      else await this.#directory.stage(source, this.#principal, { foreseen })
    })
  }

  override release(): void {
    this.#forgetForeseen()
    this.#settle()
      .catch((error: unknown) =>
        this.#directory.warn(error, 'the last close of .compute left the program as it was'),
      )
      .finally(() => {
        this.#buffer.dispose()
        this.#directory.leave(this)
      })
  }

  /** Bytes that no flush saw are staged, and an emptied file takes its program away. */
  async #settle(): Promise<void> {
    const emptiedAt = this.#emptiedAt
    if (this.#buffer.sizeBytes > 0) {
      if (!this.#incomplete) await this.flush()
    } else if (emptiedAt !== undefined && !this.#orphaned) {
      await this.#directory.inTurn(async () => {
        if (!this.#orphaned) await this.#directory.detach(emptiedAt, this.#principal)
      })
    }
  }

  #foresee(): void {
    if (!this.#orphaned && this.#changed)
      this.#foreseen = this.#directory.foresee(this.#buffer.content(), this.#principal)
  }

  #forgetForeseen(): void {
    clearImmediate(this.#foresight)
    this.#foreseen?.drop()
    this.#foreseen = undefined
  }

  #change(apply: () => void): void {
    this.#forgetForeseen()
    try {
      apply()
    } catch (error) {
      this.#incomplete = true
      throw error
    }
    this.#changed = true
    this.#mtimeNs = nowNs()
  }
}

function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n
}
