/** What an operator may ask, on the admin socket. */
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { errnoOf, VfsError } from '../../errors.ts'
import type { GrantBroker } from '../broker.ts'
import { BrokerError } from '../broker-error.ts'
import type { Metrics } from '../metrics.ts'
import type { TenantAdministration } from '../ports.ts'
import type { Certificates } from '../tls/certificates.ts'
import { addAdminPolicies, addAdminVolumes } from './admin-catalog.ts'
import { addCertificates } from './admin-certificates.ts'
import { addAdminContainers } from './admin-containers.ts'
import { createApp } from './app.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { peerOfRequest } from './endpoint.ts'
import * as schemas from './schemas.ts'
import { auditView, grantView, toTenant } from './views.ts'

export interface AdminApiOptions {
  readonly broker: GrantBroker
  readonly administration: TenantAdministration
  readonly metrics: Metrics
  readonly certificates: Certificates
}

const ByName = Type.Object({ name: schemas.Name }, { additionalProperties: false })

export async function createAdminApi(options: AdminApiOptions): Promise<FastifyInstance> {
  const { broker } = options
  const app = await createApp({
    title: 'insitu, for its operator',
    description: 'Tenants, volumes, policies, grants, the audit, and how the daemon is.',
    log: broker.log,
  })
  addHealth(app, options)
  addTenants(app, options)
  addCertificates(app, options)
  addAdminVolumes(app, options)
  addAdminPolicies(app, options)
  addGrants(app, options)
  addAdminContainers(app, options)
  addAudit(app, options)
  await app.ready()
  return app
}

function addHealth(app: FastifyInstance, options: AdminApiOptions): void {
  const { broker, administration, metrics } = options
  const ok = schemas.responses({ 200: Type.Object({ status: Type.String() }) })
  app.get(
    '/livez',
    { schema: { operationId: 'livez', summary: 'It answers', response: ok } },
    () => ({ status: 'ok' }),
  )
  app.get(
    '/readyz',
    {
      schema: {
        operationId: 'readyz',
        summary: 'Tenants are served and the state can be written',
        response: ok,
      },
    },
    () => {
      broker.store.probe() // throws state-unavailable
      const starting = administration.list().filter(({ state }) => state === 'starting')
      if (starting.length > 0)
        throw new BrokerError('not-ready', `${starting.length} tenants are not served yet`)
      return { status: 'ok' }
    },
  )
  app.get('/metrics', { schema: { hide: true } }, async (_, reply) => {
    // The serializer would make JSON of it.
    return reply.type(metrics.contentType).send(Buffer.from(await metrics.text()))
  })
}

function addTenants(app: FastifyInstance, { broker, administration }: AdminApiOptions): void {
  const list = Type.Object({ tenants: Type.Array(schemas.TenantReport) })
  app.get(
    '/tenants',
    {
      schema: {
        operationId: 'listTenants',
        summary: 'Tenants, their mounts and endpoints',
        response: schemas.responses({ 200: list }),
      },
    },
    () => ({ tenants: administration.list() }),
  )
  app.post<{ Body: schemas.Body<typeof schemas.TenantBody> }>(
    '/tenants',
    {
      schema: {
        operationId: 'addTenant',
        summary: 'Makes its home, its mount and its endpoint',
        body: schemas.TenantBody,
        response: schemas.responses({ 201: schemas.TenantReport }),
      },
    },
    async (request, reply) => {
      const tenant = toTenant(request.body)
      const report = await administered(() => administration.add(tenant))
      const actor = peerOfRequest(request.raw)
      const subject = tenant.name
      broker.record({
        ...actor,
        action: 'tenant-add',
        outcome: 'done',
        tenant: subject,
        subject,
        reason: undefined,
      })
      return reply.code(201).send(report)
    },
  )
  app.delete<{ Params: { name: string }; Querystring: { purge?: string } }>(
    '/tenants/:name',
    {
      schema: {
        operationId: 'removeTenant',
        summary: 'Takes its mount, endpoint and grants away; data stays unless `purge=true`',
        params: ByName,
        querystring: Type.Object(
          { purge: Type.Optional(Type.Union([Type.Literal('true'), Type.Literal('false')])) },
          { additionalProperties: false },
        ),
        response: schemas.responses({ 200: Type.Object({}) }),
      },
    },
    async (request) => {
      const { name } = request.params
      const purge = request.query.purge === 'true'
      await administered(() => administration.remove(name, { purge }))
      broker.record({
        ...peerOfRequest(request.raw),
        action: 'tenant-remove',
        outcome: 'done',
        tenant: name,
        subject: name,
        reason: purge ? 'with its data' : undefined,
      })
      return {}
    },
  )
}

/** What the tenants' side says as errnos. */
async function administered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof VfsError)) throw error
    const codes = { ENOENT: 'not-found', EEXIST: 'exists', EBUSY: 'in-use' } as const
    const errno = errnoOf(error)
    const code =
      codes[errno as keyof typeof codes] ?? (errno === 'EINVAL' ? 'bad-request' : 'internal')
    throw new BrokerError(code, error.message, {}, { cause: error })
  }
}

function addGrants(app: FastifyInstance, { broker }: AdminApiOptions): void {
  app.get<{ Querystring: { tenant?: string } }>(
    '/grants',
    {
      schema: {
        operationId: 'listGrants',
        summary: 'Grants of all tenants, or of one',
        querystring: Type.Object(
          { tenant: Type.Optional(schemas.Name) },
          { additionalProperties: false },
        ),
        response: schemas.responses({ 200: Type.Object({ grants: Type.Array(schemas.Grant) }) }),
      },
    },
    (request) => ({ grants: broker.grants(request.query.tenant).map(grantView) }),
  )
  app.get<{ Params: { name: string } }>(
    '/grants/:name',
    {
      schema: {
        operationId: 'showGrant',
        summary: 'One grant, and who holds it',
        params: ByName,
        response: schemas.responses({
          200: Type.Object({ grant: schemas.Grant, holders: Type.Array(schemas.Holder) }),
        }),
      },
    },
    async (request) => {
      const grant = broker.grant(request.params.name)
      if (grant === undefined) throw new BrokerError('not-found', 'there is no such grant')
      return { grant: grantView(grant), holders: await broker.holders(grant.id) }
    },
  )
  app.delete<{ Params: { name: string } }>(
    '/grants/:name',
    {
      schema: {
        operationId: 'revokeGrant',
        summary: 'Takes it away, also from open files; empty when it was gone',
        params: ByName,
        response: schemas.responses({
          200: Type.Object({ revoked: Type.Optional(schemas.Grant) }),
        }),
      },
    },
    async (request) => {
      const peer = peerOfRequest(request.raw)
      const gone = await broker.revoke(request.params.name, peer, 'by the operator')
      return gone === undefined ? {} : { revoked: grantView(gone) }
    },
  )
}

interface AuditQuery {
  readonly tenant?: string
  readonly action?: string
  readonly outcome?: string
  readonly before?: string
  readonly limit?: string
}

function addAudit(app: FastifyInstance, { broker }: AdminApiOptions): void {
  const number = Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' }))
  const word = Type.Optional(Type.String({ maxLength: 63 }))
  app.get<{ Querystring: AuditQuery }>(
    '/audit',
    {
      schema: {
        operationId: 'listAudit',
        summary: 'Decisions, grants, revocations and refusals, newest first',
        querystring: Type.Object(
          { tenant: word, action: word, outcome: word, before: number, limit: number },
          { additionalProperties: false },
        ),
        response: schemas.responses({
          200: Type.Object({ entries: Type.Array(schemas.AuditRecord) }),
        }),
      },
    },
    (request) => {
      const { tenant, action, outcome, before, limit } = request.query
      const entries = broker.store.audit.list({
        tenant,
        action,
        outcome,
        before: before === undefined ? undefined : Number(before),
        limit: Math.min(Number(limit ?? 100), HTTP_BOUNDS.auditPage),
      })
      return { entries: entries.map(auditView) }
    },
  )
}
