import { constants } from 'node:os'

export type Errno = keyof typeof constants.errno

/** What the caller of a file sees: an errno, and a sentence for the log and for `.error`. */
export class VfsError extends Error {
  override readonly name = 'VfsError'
  readonly code: Errno

  constructor(code: Errno, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** Positive, as in errno(3). */
  get errno(): number {
    return constants.errno[this.code]
  }
}

/** The errno name that any thrown value stands for; what is not ours is EIO. */
export function errnoOf(error: unknown): Errno {
  if (error instanceof VfsError) return error.code
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && code in constants.errno ? (code as Errno) : 'EIO'
}
