/**
 * HTTPS with mutual TLS, one port for all tenants: who it is stands in the client's certificate. A
 * handshake with a bad one is let through so far that it can be told why not, and that the audit has it.
 */
import { constants } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { LRUCache } from 'lru-cache'
import { BrokerError } from '../broker-error.ts'
import type { HttpsEndpoint } from '../ports.ts'
import type { Tenant } from '../types.ts'
import { SERVER_RENEWAL_MS } from '../tls/authority.ts'
import { EXPIRED, type Certificates } from '../tls/certificates.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { guard, SERVER_OPTIONS, type Admitted, type Handle } from './endpoint.ts'

export interface HttpsOptions {
  readonly endpoint: HttpsEndpoint
  readonly certificates: Certificates
  /** undefined: it is not served now. */
  readonly tenantOf: (name: string) => Tenant | undefined
  readonly onRefused: (refused: Refused) => void
  readonly handle: (tenant: string, ...request: Parameters<Handle>) => void
}

export interface Refused {
  readonly fingerprint: string | undefined
  /** As far as it is known whose endpoint was meant, or who it was. */
  readonly tenant: string | undefined
  readonly reason: string
}

export interface HttpsServer {
  readonly port: number
  /** Ends the connections of a certificate, or of all that the tenant has. */
  drop(tenant: string, fingerprint: string | undefined): void
  close(): Promise<void>
}

/** `acme.localhost` is acme's: a client that means one tenant does not speak for another by mistake. */
const SUFFIX = '.localhost'
const STANDARD_NAMES = ['localhost', '127.0.0.1', '::1']
/** Of one tenant's name each. */
const MAX_CONTEXTS = 1_000
/** Longer than that Node's timers cannot wait; each request looks anyhow. */
const MAX_TIMER_MS = 2 ** 31 - 1

interface Known {
  readonly tenant: string
  readonly fingerprint: string
}

export async function listenHttps(options: HttpsOptions): Promise<HttpsServer> {
  const { endpoint, certificates, tenantOf } = options
  const open = new Set<Socket>()
  const secured = new Map<Socket, Known>()
  /** That are not done, the oldest first. */
  const handshakes = new Map<string, Socket>()
  const own = [...STANDARD_NAMES, ...endpoint.names]
  const contexts = new LRUCache<string, SecureContext>({
    max: MAX_CONTEXTS,
    ttl: SERVER_RENEWAL_MS,
  })
  const authority = await certificates.authority()
  const contextOf = (servername: string): SecureContext => {
    const tenant = tenantNamed(servername)
    const name = tenant !== undefined && tenantOf(tenant) !== undefined ? servername : ''
    const there = contexts.get(name)
    if (there !== undefined) return there
    const { certificate: cert, key } = authority.server(name === '' ? own : [name])
    const context = createSecureContext({ cert, key, ca: authority.certificate, ...TLS })
    contexts.set(name, context)
    return context
  }
  const standard = () => {
    const { certificate: cert, key } = authority.server(own)
    return { cert, key, ca: authority.certificate, ...TLS }
  }
  const server = createServer({
    ...SERVER_OPTIONS,
    ...standard(),
    requestCert: true,
    rejectUnauthorized: false, // refused below, with a reason
    handshakeTimeout: HTTP_BOUNDS.headersMs,
    ALPNProtocols: ['http/1.1'],
    SNICallback: (servername, done) => done(null, contextOf(servername)),
  })
  // For clients that name nobody: they connect to an address.
  const renewal = setInterval(() => server.setSecureContext(standard()), SERVER_RENEWAL_MS)
  renewal.unref()
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket)
    open.add(socket)
    handshakes.set(name, socket)
    socket.once('close', () => {
      open.delete(socket)
      if (handshakes.get(name) === socket) handshakes.delete(name)
    })
    if (handshakes.size <= HTTP_BOUNDS.handshakes) return
    for (const [oldest, its] of handshakes) {
      handshakes.delete(oldest)
      its.destroy()
      break
    }
  })
  server.on('tlsClientError', (_, socket) => void socket.destroy())
  guard(server, {
    event: 'secureConnection',
    admit: (socket: TLSSocket): Admitted | BrokerError => {
      handshakes.delete(nameOf(socket))
      const verdict = judge(socket, options)
      if ('reason' in verdict) {
        options.onRefused(verdict)
        return new BrokerError('forbidden', verdict.reason)
      }
      if (secured.size >= HTTP_BOUNDS.httpsConnections)
        return new BrokerError('too-many-requests', 'there are too many connections')
      const { tenant, fingerprint, expiresAtMs } = verdict
      secured.set(socket, { tenant: tenant.name, fingerprint })
      const leftMs = Math.min(expiresAtMs - Date.now(), MAX_TIMER_MS)
      const timer = setTimeout(() => socket.destroy(), leftMs).unref()
      socket.once('close', () => {
        clearTimeout(timer)
        secured.delete(socket)
      })
      const { first } = tenant.ids
      const peer = { uid: first, gid: first, groups: [], command: undefined }
      return { peer: { ...peer, pid: undefined, container: undefined }, of: tenant.name }
    },
    handle: (request, response) => {
      const who = secured.get(request.socket)
      if (who === undefined) return void request.socket.destroy()
      options.handle(who.tenant, request, response)
    },
  })
  const [host, port] = endpoint.listen
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  server.unref()
  return {
    port: (server.address() as AddressInfo).port,
    drop: (tenant, fingerprint) => {
      for (const [socket, each] of secured) {
        if (each.tenant !== tenant) continue
        if (fingerprint === undefined || each.fingerprint === fingerprint) socket.destroy()
      }
    },
    close: async () => {
      clearInterval(renewal)
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

const TLS = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  // A resumed session would not be looked at again.
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const

interface Accepted {
  readonly tenant: Tenant
  readonly fingerprint: string
  readonly expiresAtMs: number
}

function judge(socket: TLSSocket, { certificates, tenantOf }: HttpsOptions): Accepted | Refused {
  const meant = tenantNamed(socket.servername === false ? '' : (socket.servername ?? ''))
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined)
    return { fingerprint: undefined, tenant: meant, reason: 'there is no client certificate' }
  const identified = certificates.identify(certificate)
  const { fingerprint, tenant: name = meant } = identified
  const refused = (reason: string): Refused => ({ fingerprint, tenant: meant ?? name, reason })
  if (!socket.authorized) {
    const { authorizationError } = socket as { authorizationError?: unknown }
    const expired = String(authorizationError).includes('CERT_HAS_EXPIRED')
    return refused(expired ? EXPIRED : 'this certificate is not of our authority')
  }
  if (identified.reason !== undefined) return refused(identified.reason)
  if (meant !== undefined && meant !== identified.tenant)
    return refused("this name is another tenant's")
  const tenant = tenantOf(identified.tenant)
  if (tenant === undefined) return refused(`"${identified.tenant}" is not served now`)
  return { tenant, fingerprint, expiresAtMs: identified.expiresAtMs }
}

/** The same for a connection before its handshake and after it. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function tenantNamed(servername: string): string | undefined {
  return servername.endsWith(SUFFIX) ? servername.slice(0, -SUFFIX.length) : undefined
}
