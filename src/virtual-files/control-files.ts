import type { Compute } from '../compute/types.ts'
import { VfsError } from '../errors.ts'
import type {
  ControlName,
  DirectoryKey,
  Principal,
  VirtualAttributes,
} from '../file-server/types.ts'
import type { ByteBudget } from './byte-budget.ts'
import { OpenFile, opensForWriting, SnapshotFile } from './open-file.ts'

/** A command is one word; more than this in one write is none. */
const MAX_COMMAND_BYTES = 64

type ReadableName = Exclude<ControlName, '.control'>

const CONTENT: Record<ReadableName, (compute: Compute, directory: DirectoryKey) => Uint8Array> = {
  '.status': (compute, directory) =>
    // Every key is there, so that `jq -e .endedAt` and the like need no guard.
    text(JSON.stringify(compute.status(directory), (_key, v: unknown) => v ?? null, 2) + '\n'),
  '.log': (compute, directory) => compute.log(directory),
  '.error': (compute, directory) => text(compute.error(directory)),
  '.inputs': (compute, directory) => text(compute.inputs(directory)),
}

/** `.results/.status .log .error .inputs .control`: they never wait. */
export class ControlFiles {
  readonly #compute: Compute
  readonly #budget: ByteBudget

  constructor(compute: Compute, budget: ByteBudget) {
    this.#compute = compute
    this.#budget = budget
  }

  /** @throws VfsError ENOENT without a program, EACCES to write what is only read. */
  open(directory: DirectoryKey, name: ControlName, flags: number, principal: Principal): OpenFile {
    const writable = opensForWriting(flags)
    const budget = this.#budget.of(principal.uid)
    if (name === '.control') {
      this.#requireProgram(directory)
      if (writable) return new CommandFile(this.#compute, directory, principal)
      return new SnapshotFile(new Uint8Array(0), budget)
    }
    // Root passes the kernel's check of the mode.
    if (writable) throw new VfsError('EACCES', `${name} is only read`)
    // The kernel looked at the mode a moment ago; this is asked together with the content.
    if (!this.#compute.mayReadControl(directory, name, principal))
      throw new VfsError('EACCES', `${name} tells of a run whose inputs you may not all read`)
    return new SnapshotFile(this.#content(directory, name), budget)
  }

  attributes(directory: DirectoryKey, name: ControlName): VirtualAttributes {
    const sizeBytes = name === '.control' ? 0 : this.#content(directory, name).byteLength
    return { sizeBytes, mtimeNs: this.#changedNs(directory) }
  }

  #content(directory: DirectoryKey, name: ReadableName): Uint8Array {
    this.#requireProgram(directory)
    return CONTENT[name](this.#compute, directory)
  }

  #requireProgram(directory: DirectoryKey): void {
    if (this.#compute.entry(directory) === undefined)
      throw new VfsError('ENOENT', 'the directory has no program')
  }

  /** When the run that these files tell about last changed state. */
  #changedNs(directory: DirectoryKey): bigint {
    const status = this.#compute.status(directory)
    const time = status?.endedAt ?? status?.startedAt ?? status?.attachedAt
    return time === undefined ? 0n : BigInt(Date.parse(time)) * 1_000_000n
  }
}

/** `.control`: each write is one command. */
class CommandFile extends OpenFile {
  readonly #compute: Compute
  readonly #directory: DirectoryKey
  readonly #principal: Principal

  constructor(compute: Compute, directory: DirectoryKey, principal: Principal) {
    super()
    this.#compute = compute
    this.#directory = directory
    this.#principal = principal
  }

  override async read(): Promise<Uint8Array> {
    return new Uint8Array(0)
  }

  override async write(_offset: number, data: Uint8Array): Promise<void> {
    const word = data.byteLength <= MAX_COMMAND_BYTES ? Buffer.from(data).toString().trim() : ''
    if (word !== 'cancel' && word !== 'rerun')
      throw new VfsError('EINVAL', '.control takes "cancel" or "rerun"')
    await this.#compute.control(this.#directory, word, this.#principal)
  }

  override release(): void {}
}

function text(content: string): Uint8Array {
  return Buffer.from(content)
}
