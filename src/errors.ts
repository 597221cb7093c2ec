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
  const { code, errno } = (error ?? {}) as { code?: unknown; errno?: unknown }
  if (typeof code === 'string' && code in constants.errno) return code as Errno
  // Node has no name for some, EDQUOT among them.
  const known = Object.entries(constants.errno).find(([, number]) => number === -Number(errno))
  return known === undefined ? 'EIO' : (known[0] as Errno)
}
