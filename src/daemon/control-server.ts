/**
 * What the command line asks a running mount and no file answers, as HTTP on a Unix socket that only
 * the daemon's user can open. Errors are `{ "error": sentence }`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { chmod, rm } from 'node:fs/promises'
import type { Compute } from '../compute/types.ts'
import type { FileServer } from '../file-server/types.ts'
import type { RunLimits, Sandbox } from '../sandbox/types.ts'
import { errnoOf, VfsError } from '../errors.ts'
import type { MountRecord } from './registry.ts'
import { isPrincipal, type MountReport, type ProgramImport } from './control-types.ts'

export interface ControlOptions {
  readonly record: MountRecord
  readonly fileServer: Pick<FileServer, 'negotiated' | 'statistics'> & {
    readonly volume: Pick<FileServer['volume'], 'keyOf'>
  }
  readonly compute: Pick<Compute, 'list' | 'source' | 'stage'>
  readonly sandbox: Pick<Sandbox, 'statistics'>
  readonly limits: RunLimits
}

type Reply = { readonly json: unknown } | { readonly bytes: Uint8Array }

export async function serveControl(options: ControlOptions): Promise<() => Promise<void>> {
  const { socket } = options.record
  const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
    void answer(options, request, response)
  })
  server.maxConnections = 64 // a handful of commands at once; more is a mistake
  await rm(socket, { force: true }) // a crash left it behind: the state lock says that nobody serves
  const umask = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socket, resolve)
    })
  } finally {
    process.umask(umask)
  }
  await chmod(socket, 0o600)
  server.unref()
  return async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

async function answer(
  options: ControlOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const reply = await route(options, request)
    if ('json' in reply) {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(reply.json))
    } else {
      response.setHeader('content-type', 'application/octet-stream')
      response.end(reply.bytes)
    }
  } catch (error) {
    const code = errnoOf(error)
    response.statusCode = code === 'ENOENT' ? 404 : code === 'EIO' ? 500 : 400
    // What is left of a body that is too large is not waited for.
    if (!request.complete) response.setHeader('connection', 'close')
    response.setHeader('content-type', 'application/json')
    const message = error instanceof Error ? error.message : String(error)
    response.end(JSON.stringify({ error: message, code }))
  }
}

async function route(options: ControlOptions, request: IncomingMessage): Promise<Reply> {
  const url = URL.parse(request.url ?? '/', 'http://insitu')
  if (url === null) throw new VfsError('EINVAL', 'what is asked for is no URL')
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /status':
      return { json: await report(options) }
    case 'GET /programs':
      return { json: await options.compute.list() }
    case 'GET /source': {
      const source = options.compute.source(url.searchParams.get('directory') ?? '')
      if (source === undefined) throw new VfsError('ENOENT', 'no program is attached there')
      return { bytes: source }
    }
    case 'POST /programs':
      return { json: await importProgram(options, request) }
    default:
      throw new VfsError('ENOENT', `nothing answers ${request.method} ${url.pathname}`)
  }
}

async function report({
  record,
  fileServer,
  compute,
  sandbox,
}: ControlOptions): Promise<MountReport> {
  const programs = await compute.list()
  return {
    ...record,
    negotiated: fileServer.negotiated,
    statistics: fileServer.statistics(),
    sandbox: sandbox.statistics(),
    programs: programs.length,
    memory: process.memoryUsage().rss,
  }
}

async function importProgram(
  { fileServer, compute, limits }: ControlOptions,
  request: IncomingMessage,
): Promise<unknown> {
  // Base64 takes 4 bytes for 3; the rest of the message is short.
  const body = await readBody(request, Math.ceil(limits.programBytes * 1.4) + 64 * 1024)
  const program = asImport(parseJson(body))
  const directory = await fileServer.volume.keyOf(program.path)
  const source = Buffer.from(program.source, 'base64')
  return await compute.stage(directory, source, program.principal)
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (cause) {
    throw new VfsError('EINVAL', 'not a program: no JSON', { cause })
  }
}

function asImport(value: unknown): ProgramImport {
  const { path, source, principal } = (value ?? {}) as Record<string, unknown>
  if (typeof path === 'string' && typeof source === 'string' && isPrincipal(principal))
    return { path, source, principal }
  throw new VfsError('EINVAL', 'not a program: needs path, source and principal')
}

async function readBody(request: IncomingMessage, boundBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length
    if (sizeBytes > boundBytes) throw new VfsError('EFBIG', 'the program is over the size limit')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
