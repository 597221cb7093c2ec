/** Whether a program compiles, and whether it may be that large. */
import { VfsError } from '../errors.ts'
import type { CheckOutcome, GuestError, RunLimits } from '../sandbox/types.ts'

/** @throws VfsError EFBIG. */
export function checkSize(source: Uint8Array, { programBytes }: RunLimits): void {
  if (source.length > programBytes)
    throw new VfsError(
      'EFBIG',
      `the program has ${source.length} bytes, more than the ${programBytes} that are allowed; make it smaller, or raise the limit`,
    )
}

/** Why a program does not compile, if it does not. Throws where that is not known. */
export function compileError(outcome: CheckOutcome): GuestError | undefined {
  switch (outcome.status) {
    case 'ok':
      return undefined
    case 'failed':
      return outcome.error
    case 'over-limit':
      if (outcome.limit === 'queue') throw new VfsError('EAGAIN', outcome.message)
      return {
        name: 'LimitError',
        message: outcome.message,
        stack: '',
        line: undefined,
        column: undefined,
      }
    case 'crashed':
      throw new VfsError('EIO', `the program was not compiled: ${outcome.message}; try again`)
    case 'unavailable':
      throw new VfsError('ENOTSUP', outcome.message)
  }
}
