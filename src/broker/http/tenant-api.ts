/** What a tenant's processes may ask; one application serves the endpoints of all tenants. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { GrantBroker } from '../broker.ts'
import { BrokerError, toBrokerError } from '../broker-error.ts'
import type { TenantCompute } from '../ports.ts'
import { faultOfAt } from '../paths.ts'
import { createApp } from './app.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { closing } from './closing.ts'
import { Computing } from './computing.ts'
import { peerOfRequest } from './endpoint.ts'
import { EventStreams } from './event-stream.ts'
import { Idempotency, type Answer } from './idempotency.ts'
import type { Peer } from './peer.ts'
import { toProblem } from './problem.ts'
import { Rate } from './rate.ts'
import * as schemas from './schemas.ts'
import { UnderWay } from './under-way.ts'
import { dryRunView, grantView, tenantVolumeView, toMountRequest } from './views.ts'

export interface TenantApi {
  readonly app: FastifyInstance
  readonly streams: EventStreams
  readonly rate: Rate
}

export interface TenantApiOptions {
  readonly broker: GrantBroker
  /** Whose endpoint the request came to. */
  readonly tenantOf: (request: FastifyRequest['raw']) => string
  readonly computeOf: (tenant: string) => TenantCompute | undefined
  readonly onRequest: (route: string, status: number, ms: number) => void
}

export async function createTenantApi(options: TenantApiOptions): Promise<TenantApi> {
  const { broker } = options
  const app = await createApp({
    title: 'insitu, for a tenant',
    description: 'Volumes that appear in the mount of this tenant, and programs that run over it.',
    log: broker.log,
  })
  const streams = new EventStreams(broker.events)
  const rate = new Rate()
  app.addHook('onRequest', async (request, reply) => {
    const bytes = bodyBytes(request)
    endsIfRefused(reply, bytes, () => rate.take(options.tenantOf(request.raw), bytes))
  })
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none'
    options.onRequest(route, reply.statusCode, reply.elapsedTime)
  })
  addVolumes(app, options)
  addGrants(app, options)
  addEvents(app, options, streams)
  addCompute(app, options)
  await app.ready()
  return { app, streams, rate }
}

/** As the request says; the most that it may be if it does not. */
function bodyBytes({ raw: { headers }, routeOptions }: FastifyRequest): number {
  const most = routeOptions.bodyLimit ?? HTTP_BOUNDS.bodyBytes
  const told = headers['transfer-encoding'] === undefined
  return told ? Math.min(Number(headers['content-length'] ?? 0), most) : most
}

/** With the connection: a large body would be read to its end only to be thrown away. */
function endsIfRefused(reply: FastifyReply, bytes: number, admit: () => void): void {
  try {
    admit()
  } catch (error) {
    if (bytes > HTTP_BOUNDS.bodyBytes) reply.header('connection', 'close')
    throw error
  }
}

function addVolumes(app: FastifyInstance, { broker, tenantOf }: TenantApiOptions): void {
  const ok = Type.Object({ volumes: Type.Array(schemas.TenantVolume) })
  app.get(
    '/volumes',
    {
      schema: {
        operationId: 'listVolumes',
        summary: 'The volumes that this tenant may know of, and whether it may mount them',
        response: schemas.responses({ 200: ok }),
      },
    },
    (request) => {
      const name = tenantOf(request.raw)
      const { tenant } = broker.tenant(name)
      return {
        volumes: broker.volumesFor(tenant).map((report) =>
          tenantVolumeView(report, (mode) =>
            broker.explain(name, {
              volume: report.volume.name,
              select: undefined,
              mode,
              subpath: '',
              ttlMs: undefined,
              quotaBytes: undefined,
              compute: false,
            }),
          ),
        ),
      }
    },
  )
}

function addGrants(app: FastifyInstance, { broker, tenantOf }: TenantApiOptions): void {
  const idempotency = new Idempotency(broker.store.keys)
  const unmounts = new UnderWay(HTTP_BOUNDS.unmounts, 'unmounts')
  app.get(
    '/grants',
    {
      schema: {
        operationId: 'listGrants',
        summary: 'What is mounted for this tenant',
        response: schemas.responses({ 200: Type.Object({ grants: Type.Array(schemas.Grant) }) }),
      },
    },
    (request) => ({ grants: broker.grants(tenantOf(request.raw)).map(grantView) }),
  )
  app.post<{ Body: schemas.Body<typeof schemas.MountBody> }>(
    '/mount',
    {
      schema: {
        operationId: 'mount',
        summary: 'Makes a volume appear in the mount; done when it is seen there',
        body: schemas.MountBody,
        response: schemas.responses({ 200: schemas.DryRun, 201: schemas.Grant }),
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request.raw)
      const peer = peerOfRequest(request.raw)
      const wanted = toMountRequest(request.body)
      if (request.body.dryRun === true) return dryRunView(broker.explain(tenant, wanted))
      return await idempotency.once(tenant, request, reply, async (key) => {
        const { grant } = await broker.mount(tenant, wanted, { actor: peer, key })
        return { status: 201, body: grantView(grant) }
      })
    },
  )
  app.post<{ Body: schemas.Body<typeof schemas.UnmountBody> }>(
    '/unmount',
    {
      schema: {
        operationId: 'unmount',
        summary: 'Takes it away: waits while it is in use, or takes open files along',
        body: schemas.UnmountBody,
        response: schemas.responses({ 200: Unmounted }),
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request.raw)
      const peer = peerOfRequest(request.raw)
      const { body } = request
      const leave = unmounts.enter(tenant)
      try {
        return await idempotency.once(tenant, request, reply, () =>
          unmount(broker, tenant, body, peer, closing(reply)),
        )
      } finally {
        leave()
      }
    },
  )
}

const Unmounted = Type.Object(
  {
    unmounted: Type.Optional(schemas.Grant),
  },
  { description: 'Empty when nothing was there: that is what was asked for.' },
)

async function unmount(
  broker: GrantBroker,
  tenant: string,
  body: schemas.Body<typeof schemas.UnmountBody>,
  peer: Peer,
  signal: AbortSignal,
): Promise<Answer> {
  const { at, grant, force = false, waitMs = 0 } = body
  if ((at === undefined) === (grant === undefined))
    throw new BrokerError('bad-request', 'give one of "at" and "grant"')
  const fault = at === undefined ? undefined : faultOfAt(at)
  if (fault !== undefined) throw new BrokerError('bad-path', `"at": ${fault}`)
  const target = at === undefined ? { grant: grant ?? '' } : { at }
  const gone = await broker.unmount(tenant, target, { force, waitMs, signal }, peer)
  return { status: 200, body: gone === undefined ? {} : { unmounted: grantView(gone) } }
}

function addEvents(
  app: FastifyInstance,
  { tenantOf }: TenantApiOptions,
  streams: EventStreams,
): void {
  app.get(
    '/events',
    {
      schema: {
        operationId: 'events',
        summary: "What happens to this tenant's grants, as server-sent events",
        produces: ['text/event-stream'],
        response: schemas.responses({ 200: Type.String({ description: 'text/event-stream' }) }),
      },
    },
    (request, reply) => {
      streams.open(tenantOf(request.raw), reply.raw)
      reply.hijack()
    },
  )
}

function addCompute(app: FastifyInstance, { broker, tenantOf, computeOf }: TenantApiOptions): void {
  const computing = new Computing()
  app.post<{ Body: schemas.Body<typeof schemas.ComputeBody> }>(
    '/compute',
    {
      bodyLimit: HTTP_BOUNDS.computeBodyBytes,
      // Before its body is read.
      onRequest: async (request, reply) =>
        endsIfRefused(reply, bodyBytes(request), () =>
          computing.enter(tenantOf(request.raw), reply.raw),
        ),
      schema: {
        operationId: 'compute',
        summary: 'Runs a program over a directory of the mount; its result is the answer',
        body: schemas.ComputeBody,
        response: schemas.responses({
          200: Type.Unknown({ description: 'The bytes of the result, with an ETag.' }),
          304: Type.Null({ description: 'The result is what If-None-Match names.' }),
        }),
      },
    },
    async (request, reply) => {
      const tenant = tenantOf(request.raw)
      const peer = peerOfRequest(request.raw)
      const compute = computeOf(tenant)
      if (compute === undefined) throw new BrokerError('no-compute', 'programs do not run here')
      const { directory, program, params, result } = request.body
      const computation = { directory, program, params, result }
      const signal = closing(reply)
      const audit = (outcome: 'done' | 'failed', reason?: string): void =>
        broker.record({ ...peer, action: 'compute', outcome, tenant, subject: directory, reason })
      try {
        await computing.run(reply.raw, compute, computation, peer, signal, async (computed) => {
          audit('done')
          const { etag, contentType, sizeBytes } = computed
          reply.hijack()
          const { raw } = reply
          if (matches(request.headers['if-none-match'], etag)) {
            raw.writeHead(304, { etag }).end()
            return
          }
          raw.writeHead(200, {
            etag,
            'content-type': contentType,
            'content-length': sizeBytes,
            'x-content-type-options': 'nosniff',
            'insitu-result': encodeURIComponent(computed.name),
          })
          await new Promise<void>((resolve) => {
            // Also when the reader goes away: the files are removed after this.
            raw.once('close', resolve)
            computed
              .stream()
              .once('error', () => raw.destroy())
              .pipe(raw)
          })
        })
      } catch (error) {
        const problem = toBrokerError(error)
        if (!signal.aborted) audit('failed', toProblem(problem).detail)
        throw problem
      }
      return reply
    },
  )
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((each) => each.trim() === '*' || each.trim() === etag)
}
