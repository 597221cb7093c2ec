/**
 * `insitu/client`: the tenant's API in TypeScript, over its socket or HTTPS. Operations and their types are
 * made from the endpoint's own description (`client-api.ts`).
 */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { OPERATIONS, type operations } from './client-api.ts'

type Operation = keyof operations
type Json<T> = T extends { content: { 'application/json': infer Body } } ? Body : never
type BodyOf<O extends Operation> = operations[O] extends { requestBody: infer R }
  ? Json<R>
  : undefined
type Responses<O extends Operation> = operations[O]['responses']
/** What it answers with that status. */
type AnswerOf<O extends Operation, Status extends keyof Responses<O>> = Json<Responses<O>[Status]>

export type MountRequest = Omit<BodyOf<'mount'>, 'dryRun'>
export type UnmountRequest = BodyOf<'unmount'>
export type ComputeRequest = BodyOf<'compute'>
export type Grant = AnswerOf<'mount', 201>
export type TenantVolume = AnswerOf<'listVolumes', 200>['volumes'][number]
export type DryRun = AnswerOf<'mount', 200>

export interface GrantNotice {
  readonly type: string
  readonly at: string
  readonly grant: Grant
  readonly reason?: string
}

/** What the endpoint refused: `code` is part of the API. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError'
  readonly status: number
  readonly code: string
  readonly problem: Readonly<Record<string, unknown>>

  constructor(status: number, problem: Readonly<Record<string, unknown>>) {
    super(typeof problem['detail'] === 'string' ? problem['detail'] : `HTTP status ${status}`)
    this.status = status
    this.code = typeof problem['code'] === 'string' ? problem['code'] : 'unknown'
    this.problem = problem
  }
}

export interface CallOptions {
  readonly method?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

type AskOptions = Pick<CallOptions, 'headers' | 'signal'>

/** An answer of more than that, other than a result, is none of ours. */
const MAX_JSON_BYTES = 64 * 1024 * 1024

/** HTTPS, with what `insitu tenant cert` made; all PEM. */
export interface HttpsTarget {
  /** As `https://127.0.0.1:8443`. */
  readonly url: string
  readonly ca: string | Buffer
  readonly cert: string | Buffer
  readonly key: string | Buffer
}

export class InsituClient {
  readonly #target: RequestOptions
  readonly #request: typeof httpRequest

  /** Where the tenant's socket is in this container, or its HTTPS. */
  constructor(target: string | HttpsTarget = '/run/insitu/api.sock') {
    if (typeof target === 'string') {
      this.#target = { socketPath: target }
      this.#request = httpRequest
      return
    }
    const { url, ...credentials } = target
    const { hostname, port } = new URL(url)
    const host = hostname.replace(/^\[|\]$/g, '')
    this.#target = { ...credentials, host, port, agent: false, minVersion: 'TLSv1.3' }
    this.#request = httpsRequest
  }

  async volumes(): Promise<TenantVolume[]> {
    return (await this.#call<'listVolumes', 200>('listVolumes', undefined)).volumes
  }

  async grants(): Promise<Grant[]> {
    return (await this.#call<'listGrants', 200>('listGrants', undefined)).grants
  }

  /** With a key, the same request may be made again. */
  mount(request: MountRequest, idempotencyKey?: string): Promise<Grant> {
    const headers = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }
    return this.#call<'mount', 201>('mount', request, { headers })
  }

  explain(request: MountRequest): Promise<DryRun> {
    return this.#call<'mount', 200>('mount', { ...request, dryRun: true })
  }

  /** Undefined: nothing was there. */
  async unmount(request: UnmountRequest): Promise<Grant | undefined> {
    return (await this.#call<'unmount', 200>('unmount', request)).unmounted
  }

  /** The result as a stream; undefined: it is still the one that `etag` names. */
  async compute(
    request: ComputeRequest,
    { etag, signal }: { readonly etag?: string; readonly signal?: AbortSignal } = {},
  ): Promise<{ readonly stream: IncomingMessage; readonly etag: string } | undefined> {
    const headers = etag === undefined ? {} : { 'if-none-match': etag }
    const options = { headers, ...(signal === undefined ? {} : { signal }) }
    const response = await this.#ask('compute', request, options)
    if (response.statusCode === 304) {
      response.resume()
      return undefined
    }
    return { stream: response, etag: response.headers.etag ?? '' }
  }

  /** What happens to this tenant's grants, until the signal or the end of the daemon. */
  async *events(signal?: AbortSignal): AsyncGenerator<GrantNotice> {
    const options = signal === undefined ? {} : { signal }
    const response = await this.#ask('events', undefined, options)
    let text = ''
    for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
      text += chunk
      const blocks = text.split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = block.split('\n').find((line) => line.startsWith('data: '))
        if (data !== undefined) yield JSON.parse(data.slice(6)) as GrantNotice
      }
    }
  }

  async #call<O extends Operation, Status extends keyof Responses<O>>(
    operation: O,
    body: BodyOf<O>,
    options?: AskOptions,
  ): Promise<AnswerOf<O, Status>> {
    const response = await this.#ask(operation, body, options)
    return JSON.parse(await textOf(response)) as AnswerOf<O, Status>
  }

  #ask<O extends Operation>(
    operation: O,
    body: BodyOf<O>,
    options: AskOptions = {},
  ): Promise<IncomingMessage> {
    const { method, path } = OPERATIONS[operation]
    return this.#send(path, { ...options, method, body })
  }

  /** Any path of an endpoint, as those of the operator's. */
  async json<T>(path: string, options: CallOptions = {}): Promise<T> {
    return JSON.parse(await textOf(await this.#send(path, options))) as T
  }

  #send(path: string, options: CallOptions): Promise<IncomingMessage> {
    const { body, headers = {}, signal } = options
    const text = body === undefined ? undefined : JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const call = this.#request(
        {
          ...this.#target,
          path,
          method: options.method ?? (text === undefined ? 'GET' : 'POST'),
          headers: {
            ...(text === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
            ...headers,
          },
          ...(signal === undefined ? {} : { signal }),
        },
        (response) => {
          const status = response.statusCode ?? 0
          if (status < 400) resolve(response)
          else
            textOf(response).then(
              (problem) => reject(new ProblemError(status, toProblem(problem))),
              reject,
            )
        },
      )
      call.once('error', reject)
      call.end(text)
    })
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length
    if (sizeBytes > MAX_JSON_BYTES) throw new Error('the answer is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function toProblem(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
