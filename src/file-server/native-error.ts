import { constants } from 'node:os'

import { type Errno, VfsError } from '../errors.ts'

/** Two names of one number (EAGAIN, EWOULDBLOCK): the first, which is the usual one. */
const names = new Map<number, Errno>(
  Object.entries(constants.errno)
    .toReversed()
    .map(([name, value]) => [value, name as Errno]),
)

export function errnoName(errno: number): Errno {
  return names.get(errno) ?? 'EIO'
}

/** The VfsError that stands for what the addon threw. */
export function toVfsError(error: unknown): VfsError {
  if (error instanceof VfsError) return error
  const errno = (error as { errno?: unknown } | null)?.errno
  const message = error instanceof Error ? error.message : String(error)
  return new VfsError(typeof errno === 'number' ? errnoName(errno) : 'EIO', message, {
    cause: error,
  })
}
