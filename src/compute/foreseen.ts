/**
 * A program that is being written is compiled and run before its file is closed, on the chance that
 * the first bytes are all of it, as they are for any small program that a tool writes at once. When
 * the close comes, most of the work is done.
 */
import type { AttachedProgram } from './attached-program.ts'
import type { Trial } from './active-run.ts'
import type { ProgramRecord } from './database.ts'
import type { Foreseen } from './types.ts'

/** Longer ones are often written in parts, and what they do takes longer than what is saved. */
export const FORESEEN_BYTES = 64 * 1024

/** The close follows the write at once. Whoever waits with it must not hold a place among the runs. */
const FORESEEN_MS = 100

/** How a program would be attached. */
export interface Attempt {
  /** What is attached there now. */
  readonly known: AttachedProgram | undefined
  /** `known`, or a new one. */
  readonly attached: AttachedProgram
  readonly draft: Omit<ProgramRecord, 'path' | 'broken'>
}

type Begun = Attempt & { readonly trial: Trial }

export class ForeseenRun implements Foreseen {
  #begun: Begun | undefined
  readonly #timer: NodeJS.Timeout

  constructor(begun: Begun) {
    this.#begun = begun
    this.#timer = setTimeout(() => this.drop(), FORESEEN_MS).unref()
  }

  /** What was begun, if it is of the very program that is attached now, and nothing came between. */
  take(attempt: Attempt): Begun | undefined {
    const begun = this.#begun
    if (begun === undefined) return undefined
    // A program that came and went meanwhile has used up version numbers.
    const unchanged =
      begun.known === attempt.known && begun.attached.version === attempt.attached.version
    if (!unchanged || !isSame(begun.draft, attempt.draft)) {
      this.drop()
      return undefined
    }
    this.#begun = undefined
    clearTimeout(this.#timer)
    return begun
  }

  drop(): void {
    clearTimeout(this.#timer)
    this.#begun?.trial.drop()
    this.#begun = undefined
  }
}

type Identity = Pick<ProgramRecord, 'hash' | 'principal'>

/** The same bytes on the same rights. */
export function isSame(a: Identity, b: Identity): boolean {
  return (
    a.hash === b.hash &&
    a.principal.uid === b.principal.uid &&
    a.principal.gid === b.principal.gid &&
    String(a.principal.groups) === String(b.principal.groups)
  )
}
