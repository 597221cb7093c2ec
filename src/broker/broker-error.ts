/** Every way in which the broker says no, by cause; the code is part of the API, the status HTTP's. */
import { errnoOf } from '../errors.ts'
import { StoreError } from './store/connection.ts'
import type { RefusalCode } from './types.ts'

const STATUS = {
  // Refusals of policy and selection.
  'unknown-volume': 404,
  'no-policy': 403,
  'mode-not-allowed': 403,
  'subpath-not-allowed': 403,
  'ttl-too-long': 403,
  'too-many-grants': 403,
  'quota-too-large': 403,
  'compute-not-allowed': 403,
  'class-mismatch': 409,
  'label-mismatch': 409,
  'not-enough-space': 409,
  draining: 409,
  unhealthy: 503,
  // Of the request.
  'bad-request': 400,
  'bad-path': 400,
  'not-found': 404,
  'method-not-allowed': 405,
  'too-large': 413,
  'unsupported-media-type': 415,
  'key-reused': 422,
  'key-in-use': 409,
  'too-many-requests': 429,
  forbidden: 403,
  // Of the state.
  'at-taken': 409,
  'not-empty': 409,
  'not-a-directory': 409,
  'read-only-parent': 409,
  overlap: 409,
  busy: 409,
  revoked: 409,
  exists: 409,
  'in-use': 409,
  'not-possible': 409,
  'no-such-subpath': 404,
  'bad-target': 409,
  'container-gone': 410,
  'program-failed': 422,
  'over-limit': 422,
  'no-compute': 501,
  'not-ready': 503,
  'state-unavailable': 503,
  'backing-unavailable': 503,
  internal: 500,
} as const satisfies Record<RefusalCode, number> & Record<string, number>

export type ProblemCode = keyof typeof STATUS

export class BrokerError extends Error {
  override readonly name = 'BrokerError'
  readonly code: ProblemCode
  /** Members of the problem document beside the standard ones. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    code: ProblemCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.code = code
    this.details = details
  }

  get status(): number {
    return STATUS[this.code]
  }
}

export function toBrokerError(error: unknown): BrokerError {
  if (error instanceof BrokerError) return error
  if (error instanceof StoreError)
    return new BrokerError(
      'state-unavailable',
      'the state cannot be written now; what is mounted is served all the same',
      {},
      { cause: error },
    )
  return new BrokerError(
    'internal',
    'this failed for a reason that the log tells',
    {},
    { cause: error },
  )
}

/** What a file server says about a graft, in words for the tenant: no path of the host is in them. */
export function fromGraftError(error: unknown, at: string): BrokerError {
  const errno = errnoOf(error)
  // Of a target in a container: said for whoever knows it.
  if (errno === 'EADDRNOTAVAIL' && error instanceof Error)
    return new BrokerError('bad-target', error.message, {}, { cause: error })
  const [code, text] = graftProblem(errno, at)
  return new BrokerError(code, text, {}, { cause: error })
}

function graftProblem(errno: string, at: string): [ProblemCode, string] {
  switch (errno) {
    case 'ESRCH':
      return ['container-gone', 'its container ended']
    case 'EEXIST':
      return ['at-taken', `a grant stands at "${at}" already`]
    case 'ENOTEMPTY':
      return ['not-empty', `there is something in "${at}"; a grant never covers files`]
    case 'ENOTDIR':
      return ['not-a-directory', `"${at}" or what is above it is no directory`]
    case 'ELOOP':
      return ['not-a-directory', `a link is on the way to "${at}", or in the subpath`]
    case 'EROFS':
      return ['read-only-parent', `"${at}" would stand in something that is read-only`]
    case 'EINVAL':
      return ['overlap', 'it overlaps with what this tenant has mounted already']
    case 'EBUSY':
      return ['busy', `"${at}" is in use`]
    case 'ENOENT':
      return ['no-such-subpath', 'the volume has no such directory']
    case 'EACCES':
    case 'EPERM':
    case 'ENODEV':
    case 'EIO':
      return ['backing-unavailable', 'the volume cannot be reached now']
    case 'ENOTCONN':
    case 'ESTALE':
      return ['not-ready', "the tenant's mount is not there now"]
    case 'ENFILE':
    case 'EMFILE':
      return ['too-many-grants', 'the mount holds as many grants as it can']
    case 'ENOSPC':
    case 'EDQUOT':
      return ['not-enough-space', `there is no space for a directory at "${at}"`]
    case 'ENAMETOOLONG':
      return ['bad-path', `"${at}" is too long`]
    default:
      return ['internal', 'the volume could not be mounted; the log tells why']
  }
}
