import { VfsError } from '../../errors.ts'
import type {
  DirectoryKey,
  ProgramEntry,
  Publication,
  PublishedResult,
  PublishedSet,
} from '../types.ts'

export interface Program {
  readonly entry: ProgramEntry
  readonly publication: Publication
}

const NOTHING: Publication = { current: undefined, last: undefined }

/** What the file server knows of programs and their results. */
export class Programs {
  readonly #programs = new Map<DirectoryKey, Program>()

  set(directory: DirectoryKey, entry: ProgramEntry | undefined): void {
    if (entry === undefined) this.#programs.delete(directory)
    else
      this.#programs.set(directory, {
        entry,
        publication: this.#programs.get(directory)?.publication ?? NOTHING,
      })
  }

  publish(directory: DirectoryKey, publication: Publication): void {
    const program = this.#programs.get(directory)
    if (program !== undefined) this.#programs.set(directory, { ...program, publication })
  }

  get(directory: DirectoryKey): Program | undefined {
    return this.#programs.get(directory)
  }

  /** One that has results. */
  running(directory: DirectoryKey): Program {
    const program = this.#programs.get(directory)
    if (program === undefined || program.entry.writing)
      throw new VfsError('ENOENT', 'the directory has no program')
    return program
  }
}

export function findResult(set: PublishedSet | undefined, name: string): PublishedResult {
  const result = set?.results.find((each) => each.name === name)
  if (result === undefined) throw new VfsError('ENOENT', 'the program made no such result')
  return result
}
