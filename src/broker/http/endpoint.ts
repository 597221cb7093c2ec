/**
 * One Unix socket: who may connect is decided by the kernel's word at the connection, before anything of
 * it is read. All endpoints of one kind share one application.
 */
import { chmod, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { BrokerError } from '../broker-error.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { peerOf, type Peer } from './peer.ts'
import { rawProblem } from './problem.ts'

export interface EndpointOptions {
  readonly socket: string
  readonly mode: number
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
  /** A sentence: why not. */
  readonly admit: (peer: Peer) => string | undefined
  readonly onRefused: (peer: Peer, reason: string) => void
}

/** sun_path holds 108 bytes with its NUL. */
const MAX_SOCKET_BYTES = 107

const peers = new WeakMap<Socket, Peer>()

/** Of a request's connection. */
export function peerOfRequest({ socket }: IncomingMessage): Peer {
  const peer = peers.get(socket)
  if (peer === undefined) throw new BrokerError('forbidden', 'the caller is not known')
  return peer
}

/** Resolves once it listens, with what ends it. */
export async function listen(options: EndpointOptions): Promise<() => Promise<void>> {
  const { socket } = options
  if (Buffer.byteLength(socket) > MAX_SOCKET_BYTES)
    throw new Error(`the path of a socket is at most ${MAX_SOCKET_BYTES} bytes: ${socket}`)
  await rm(socket, { force: true }) // a crash left it behind
  const server = createServer({
    requestTimeout: HTTP_BOUNDS.requestMs,
    headersTimeout: HTTP_BOUNDS.headersMs,
    keepAliveTimeout: HTTP_BOUNDS.idleMs,
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 16 * 1024,
  })
  server.maxRequestsPerSocket = HTTP_BOUNDS.requestsPerSocket
  let [insiders, outsiders] = [0, 0]
  // Before HTTP's own listener, so that nothing of an outsider reaches the parser.
  server.prependListener('connection', (connection: Socket) => {
    const refuse = (error: BrokerError): void => {
      connection.on('error', () => undefined)
      if (outsiders >= HTTP_BOUNDS.outsiders) return void connection.destroy()
      outsiders += 1
      connection.once('close', () => (outsiders -= 1))
      // It may still be writing its request: closed at once, it might not read the answer.
      connection.setTimeout(HTTP_BOUNDS.refusedMs, () => connection.destroy())
      connection.once('end', () => connection.destroy())
      connection.end(rawProblem(error))
    }
    let peer: Peer
    try {
      peer = peerOf(connection)
    } catch {
      return void connection.destroy()
    }
    const reason = options.admit(peer)
    if (reason !== undefined) {
      options.onRefused(peer, reason)
      return refuse(new BrokerError('forbidden', reason))
    }
    if (insiders >= HTTP_BOUNDS.connections)
      return refuse(new BrokerError('too-many-requests', 'there are too many connections'))
    insiders += 1
    connection.once('close', () => (insiders -= 1))
    peers.set(connection, peer)
  })
  server.on('request', (request, response) => {
    // An outsider's request can have been parsed already.
    if (peers.has(request.socket)) options.handle(request, response)
  })
  server.on('clientError', (error: NodeJS.ErrnoException, connection: Socket) => {
    if (error.code === 'ECONNRESET' || !connection.writable || !peers.has(connection))
      return void connection.destroy()
    const large = error.code === 'HPE_HEADER_OVERFLOW'
    const code = large ? 'too-large' : 'bad-request'
    connection.end(rawProblem(new BrokerError(code, 'this is no request')))
    connection.setTimeout(1_000, () => connection.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socket, () => {
      server.off('error', reject)
      resolve()
    })
  })
  await chmod(socket, options.mode)
  server.unref()
  return async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
    await rm(socket, { force: true })
  }
}
