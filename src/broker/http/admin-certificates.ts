/** Client certificates of tenants on the admin socket. */
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Certificates } from '../tls/certificates.ts'
import { peerOfRequest } from './endpoint.ts'
import * as schemas from './schemas.ts'
import { iso } from './views.ts'

const strict = { additionalProperties: false } as const
const Fingerprint = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'SHA-256.' })
const ByName = Type.Object({ name: schemas.Name }, strict)
const ByFingerprint = Type.Object({ name: schemas.Name, fingerprint: Fingerprint }, strict)

const DAY = 86_400
const STANDARD_TTL = 90 * DAY

const Body = Type.Object(
  {
    ttl: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 730 * DAY,
        description: 'Seconds; 90 days if left out.',
      }),
    ),
  },
  strict,
)

const Certificate = {
  fingerprint: Fingerprint,
  issuedAt: Type.String({ format: 'date-time' }),
  expiresAt: Type.String({ format: 'date-time' }),
}
const Issued = Type.Object(
  {
    ...Certificate,
    certificate: Type.String({ description: 'PEM, as the others.' }),
    key: Type.String({ description: 'Told this once, and kept nowhere.' }),
    authority: Type.String({ description: 'Who signed it, and the server’s certificate.' }),
  },
  strict,
)
const Listed = Type.Object(
  { ...Certificate, revokedAt: Type.Optional(Type.String({ format: 'date-time' })) },
  strict,
)

export function addCertificates(
  app: FastifyInstance,
  { certificates }: { readonly certificates: Certificates },
): void {
  app.post<{ Params: { name: string }; Body: schemas.Body<typeof Body> }>(
    '/tenants/:name/certificates',
    {
      schema: {
        operationId: 'issueCertificate',
        summary: 'A client certificate with which the tenant may use HTTPS',
        params: ByName,
        body: Body,
        response: schemas.responses({ 201: Issued }),
      },
    },
    async (request, reply) => {
      const { name } = request.params
      const lifeMs = (request.body.ttl ?? STANDARD_TTL) * 1_000
      const issued = await certificates.issue(name, lifeMs, peerOfRequest(request.raw))
      const { issuedAtMs, expiresAtMs, ...rest } = issued
      const times = { issuedAt: iso(issuedAtMs), expiresAt: iso(expiresAtMs) }
      return reply.code(201).send({ ...rest, ...times })
    },
  )
  app.get<{ Params: { name: string } }>(
    '/tenants/:name/certificates',
    {
      schema: {
        operationId: 'listCertificates',
        summary: 'Certificates of a tenant, newest first',
        params: ByName,
        response: schemas.responses({
          200: Type.Object({ certificates: Type.Array(Listed) }),
        }),
      },
    },
    (request) => ({
      certificates: certificates
        .of(request.params.name)
        .map(({ fingerprint, issuedAtMs, expiresAtMs, revokedAtMs }) => ({
          fingerprint,
          issuedAt: iso(issuedAtMs),
          expiresAt: iso(expiresAtMs),
          revokedAt: revokedAtMs === undefined ? undefined : iso(revokedAtMs),
        })),
    }),
  )
  app.delete<{ Params: { name: string; fingerprint: string } }>(
    '/tenants/:name/certificates/:fingerprint',
    {
      schema: {
        operationId: 'revokeCertificate',
        summary:
          'Not to be used any more, also by connections that are open; false: it was not there',
        params: ByFingerprint,
        response: schemas.responses({ 200: Type.Object({ revoked: Type.Boolean() }) }),
      },
    },
    (request) => {
      const { name, fingerprint } = request.params
      return { revoked: certificates.revoke(name, fingerprint, peerOfRequest(request.raw)) }
    },
  )
}
