/**
 * Who may connect is decided before anything of a connection is read: at a Unix socket by the kernel's
 * word, at HTTPS by the certificate. All endpoints of one kind share one application.
 */
import { rm } from 'node:fs/promises'
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import { BrokerError } from '../broker-error.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import type { Outsiders } from './outsiders.ts'
import { peerOf, uidOf, type Peer } from './peer.ts'
import { rawProblem } from './problem.ts'

export type Handle = (request: IncomingMessage, response: ServerResponse) => void

export interface EndpointOptions {
  readonly socket: string
  readonly mode: number
  readonly handle: Handle
  /** A sentence: why not. */
  readonly admit: (uid: number) => string | undefined
  readonly onRefused: (peer: Peer, reason: string) => void
  readonly outsiders: Outsiders
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

/** For every HTTP server of ours. */
export const SERVER_OPTIONS = {
  requestTimeout: HTTP_BOUNDS.requestMs,
  headersTimeout: HTTP_BOUNDS.headersMs,
  keepAliveTimeout: HTTP_BOUNDS.idleMs,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 16 * 1024,
} as const satisfies ServerOptions

export interface Admitted {
  readonly peer: Peer
  /** Connections of one are counted together. */
  readonly of: string
}

export interface Guard<S extends Socket> {
  /** When a connection is ready to be read: `secureConnection` with TLS. */
  readonly event: 'connection' | 'secureConnection'
  /** Undefined: closed without a word. Throws when the connection is gone. */
  readonly admit: (connection: S) => Admitted | BrokerError | undefined
  readonly handle: Handle
}

export function guard<S extends Socket>(server: Server, { event, admit, handle }: Guard<S>): void {
  server.maxRequestsPerSocket = HTTP_BOUNDS.requestsPerSocket
  const insiders = new Map<string, number>()
  let outsiders = 0
  // HTTP's own, which makes a parser: for who is admitted only.
  const listeners = server.listeners(event)
  server.removeAllListeners(event)
  server.on(event, (connection: S) => {
    const refuse = (error: BrokerError): void => {
      connection.on('error', () => undefined)
      if (outsiders >= HTTP_BOUNDS.outsiders) return void connection.destroy()
      outsiders += 1
      connection.once('close', () => (outsiders -= 1))
      // It may still be writing its request: closed at once, it might not read the answer.
      connection.setTimeout(HTTP_BOUNDS.refusedMs, () => connection.destroy())
      connection.once('end', () => connection.destroy())
      connection.resume()
      connection.end(rawProblem(error))
    }
    let admitted: Admitted | BrokerError | undefined
    try {
      admitted = admit(connection)
    } catch {
      return void connection.destroy()
    }
    if (admitted === undefined) return void connection.destroy()
    if (admitted instanceof BrokerError) return refuse(admitted)
    const { peer, of } = admitted
    const count = insiders.get(of) ?? 0
    if (count >= HTTP_BOUNDS.connections)
      return refuse(new BrokerError('too-many-requests', 'there are too many connections'))
    insiders.set(of, count + 1)
    connection.once('close', () => {
      const left = (insiders.get(of) ?? 1) - 1
      if (left === 0) insiders.delete(of)
      else insiders.set(of, left)
    })
    peers.set(connection, peer)
    for (const listener of listeners) Reflect.apply(listener, server, [connection])
  })
  server.on('request', handle)
  server.on('clientError', (error: NodeJS.ErrnoException, connection: Socket) => {
    if (error.code === 'ECONNRESET' || !connection.writable) return void connection.destroy()
    const large = error.code === 'HPE_HEADER_OVERFLOW'
    const code = large ? 'too-large' : 'bad-request'
    connection.end(rawProblem(new BrokerError(code, 'this is no request')))
    connection.setTimeout(1_000, () => connection.destroy())
  })
}

/** Resolves once it listens, with what ends it. */
export async function listen(options: EndpointOptions): Promise<() => Promise<void>> {
  const { socket, outsiders } = options
  if (Buffer.byteLength(socket) > MAX_SOCKET_BYTES)
    throw new Error(`the path of a socket is at most ${MAX_SOCKET_BYTES} bytes: ${socket}`)
  await rm(socket, { force: true }) // a crash left it behind
  const server = createServer(SERVER_OPTIONS)
  guard(server, {
    event: 'connection',
    admit: (connection: Socket) => {
      const uid = uidOf(connection)
      const reason = options.admit(uid)
      if (reason === undefined) return { peer: peerOf(connection), of: socket }
      if (!outsiders.tell(uid)) {
        const next = outsiders.turnAway(server)
        if (next !== undefined) server.emit('connection', next)
        return undefined
      }
      options.onRefused(peerOf(connection), reason)
      return new BrokerError('forbidden', reason)
    },
    handle: options.handle,
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    // By the umask, as a chmod would follow what a container's root put there instead. The socket is made
    // before `listen` returns, so nothing else is made by it.
    const umask = process.umask(0o777 & ~options.mode)
    server.listen({ path: socket, backlog: HTTP_BOUNDS.backlog }, () => {
      server.off('error', reject)
      resolve()
    })
    process.umask(umask)
  })
  server.unref()
  return async () => {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
    await rm(socket, { force: true })
  }
}
