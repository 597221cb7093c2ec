/** POST /compute: a program and its parameters go to the data, one result comes back. */
import { createHash } from 'node:crypto'
import { createReadStream, type ReadStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { errnoOf, VfsError } from '../../errors.ts'
import type { Principal } from '../../file-server/types.ts'
import { BrokerError, type ProblemCode } from '../broker-error.ts'
import { faultOfSubpath } from '../paths.ts'
import type { TenantCompute } from '../ports.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { UnderWay } from './under-way.ts'

export interface Computation {
  /** Relative to the tenant's mount, '' is all of it. */
  readonly directory: string
  readonly program: string
  readonly params: unknown
  readonly result: string | undefined
}

export interface ComputedResult {
  readonly name: string
  readonly sizeBytes: number
  readonly etag: string
  readonly contentType: string
  readonly stream: () => ReadStream
}

/** What a browser would run is not among them: results are a tenant's own bytes. */
const TYPES: Readonly<Record<string, string>> = {
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.csv': 'text/csv; charset=utf-8',
  '.md': 'text/plain; charset=utf-8',
  '.ndjson': 'application/x-ndjson',
}

/** The log of the run is for `.log`; here only a failure tells the end of it. */
const MAX_LOG_BYTES = 4 * 1024

export class Computing {
  readonly #underWay = new UnderWay(HTTP_BOUNDS.computations, 'computations')
  /** Of those whose body is still to come. */
  readonly #entered = new WeakMap<ServerResponse, () => void>()

  /** Takes a place, which goes with the end of the run, or of a request that comes to none. */
  enter(tenant: string, response: ServerResponse): void {
    const leave = this.#underWay.enter(tenant)
    this.#entered.set(response, leave)
    response.once('close', () => {
      if (this.#entered.delete(response)) leave()
    })
  }

  /** Of a request that has entered. `take` sends it; the files are gone afterwards. */
  async run<T>(
    response: ServerResponse,
    compute: TenantCompute,
    computation: Computation,
    principal: Principal,
    signal: AbortSignal,
    take: (result: ComputedResult) => Promise<T>,
  ): Promise<T> {
    const leave = this.#entered.get(response)
    this.#entered.delete(response)
    let folder: string | undefined
    try {
      const fault = faultOfSubpath(computation.directory)
      if (fault !== undefined) throw new BrokerError('bad-path', `"directory": ${fault}`)
      folder = await mkdtemp(path.join(compute.scratchDirectory, 'request-'))
      return await take(await evaluate(compute, computation, principal, folder, signal))
    } finally {
      leave?.()
      if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    }
  }
}

async function evaluate(
  compute: TenantCompute,
  { directory, program, params, result }: Computation,
  principal: Principal,
  folder: string,
  signal: AbortSignal,
): Promise<ComputedResult> {
  let log = ''
  const onLog = (text: string): void => {
    log = (log + text).slice(-MAX_LOG_BYTES)
  }
  try {
    const key = await compute.keyOf(directory, principal)
    const source = Buffer.from(withParams(program, params))
    const { results } = await compute.evaluate(key, source, principal, { folder, signal, onLog })
    const name = choose(
      results.map((each) => each.name),
      result,
    )
    return await describe(folder, name)
  } catch (error) {
    throw error instanceof BrokerError ? error : fromRun(error, log)
  }
}

/** On the first line, so that the program's own line numbers hold. */
function withParams(program: string, params: unknown): string {
  if (params === undefined) return program
  // JSON's two line separators end a line of JavaScript.
  const literal = JSON.stringify(JSON.stringify(params)).replace(/[\u2028\u2029]/g, (each) =>
    each === '\u2028' ? '\\u2028' : '\\u2029',
  )
  return `const params = JSON.parse(${literal}); ${program}`
}

/** The one that was asked for, else the return value, else the only one. */
function choose(names: readonly string[], wanted: string | undefined): string {
  const chosen = wanted ?? (names.includes('result') ? 'result' : names[0])
  if (chosen !== undefined && names.includes(chosen)) {
    if (wanted !== undefined || chosen === 'result' || names.length === 1) return chosen
  }
  const given = names.length === 0 ? 'it gave none' : `it gave ${names.slice(0, 20).join(', ')}`
  throw new BrokerError('not-found', `which result? ${given}`, { results: names.slice(0, 100) })
}

async function describe(folder: string, name: string): Promise<ComputedResult> {
  const file = path.join(folder, name)
  const hash = createHash('sha256')
  let sizeBytes = 0
  await pipeline(createReadStream(file), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      hash.update(chunk)
      sizeBytes += chunk.length
    }
  })
  return {
    name,
    sizeBytes,
    etag: `"${hash.digest('hex').slice(0, 32)}"`,
    contentType:
      name === 'result'
        ? 'application/octet-stream'
        : (TYPES[path.extname(name).toLowerCase()] ?? 'application/octet-stream'),
    stream: () => createReadStream(file),
  }
}

/** A run's failure says where in the program; its line and column are the program's own. */
function fromRun(error: unknown, log: string): BrokerError {
  const { failure } = error as { failure?: RunFailureView }
  if (failure !== undefined) {
    const { name, message, line, column, limit } = failure
    const code = limit === undefined ? 'program-failed' : 'over-limit'
    return new BrokerError(code, `${name}: ${message}`, { line, column, limit, log })
  }
  const code = CODES[errnoOf(error)] ?? 'internal'
  const text = error instanceof VfsError ? error.message : 'the program could not be run'
  return new BrokerError(
    code,
    code === 'internal' ? 'it failed; the log tells why' : text,
    {},
    {
      cause: error,
    },
  )
}

interface RunFailureView {
  readonly name: string
  readonly message: string
  readonly line: number | undefined
  readonly column: number | undefined
  readonly limit: string | undefined
}

const CODES: Readonly<Record<string, ProblemCode>> = {
  EACCES: 'forbidden',
  EPERM: 'forbidden',
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  ELOOP: 'bad-path',
  EXDEV: 'bad-path',
  EINVAL: 'bad-path',
  ESTALE: 'not-found',
  EFBIG: 'too-large',
  EAGAIN: 'too-many-requests',
  ENOTSUP: 'no-compute',
  ENOTCONN: 'not-ready',
}
