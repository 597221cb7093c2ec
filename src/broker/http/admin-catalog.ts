/** Volumes and policies on the admin socket. */
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { GrantBroker } from '../broker.ts'
import { BrokerError } from '../broker-error.ts'
import { peerOfRequest } from './endpoint.ts'
import * as schemas from './schemas.ts'
import { adminVolumeView, grantView, policyView, toPolicy, toVolume } from './views.ts'

interface Options {
  readonly broker: GrantBroker
}

const ByName = Type.Object({ name: schemas.Name }, { additionalProperties: false })

export function addAdminVolumes(app: FastifyInstance, { broker }: Options): void {
  app.get(
    '/volumes',
    {
      schema: {
        operationId: 'listVolumes',
        summary: 'All volumes, how they are and how full',
        response: schemas.responses({
          200: Type.Object({ volumes: Type.Array(schemas.AdminVolume) }),
        }),
      },
    },
    () => ({ volumes: broker.volumes().map(adminVolumeView) }),
  )
  app.put<{ Body: schemas.Body<typeof schemas.VolumeBody> }>(
    '/volumes',
    {
      schema: {
        operationId: 'putVolume',
        summary: 'Makes a volume of a directory, or one in an image file; or describes it anew',
        body: schemas.VolumeBody,
        response: schemas.responses({ 200: schemas.Reconciliation }),
      },
    },
    async (request) => {
      const volume = toVolume(request.body, (name) => broker.imageBacking(name))
      return await broker.catalog.putVolume(volume, peerOfRequest(request.raw))
    },
  )
  app.delete<{ Params: { name: string }; Querystring: { purge?: string } }>(
    '/volumes/:name',
    {
      schema: {
        operationId: 'removeVolume',
        summary: 'Forgets a volume without grants; an image or a snapshot goes with `purge=true`',
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
      if (await broker.catalog.removeVolume(name, purge, peerOfRequest(request.raw))) return {}
      throw new BrokerError('unknown-volume', `there is no volume "${name}"`)
    },
  )
  app.post<{ Params: { name: string }; Body: schemas.Body<typeof schemas.SnapshotBody> }>(
    '/volumes/:name/snapshots',
    {
      schema: {
        operationId: 'takeSnapshot',
        summary: 'Makes a read-only volume of it as it is at one moment, or says why it cannot',
        params: ByName,
        body: schemas.SnapshotBody,
        response: schemas.responses({
          201: Type.Object(
            { name: schemas.Name, backing: Type.String(), how: Type.String() },
            { additionalProperties: false },
          ),
        }),
      },
    },
    async (request, reply) => {
      const { name, into } = request.body
      const peer = peerOfRequest(request.raw)
      const taken = await broker.snapshot(request.params.name, { name, into }, peer)
      const { volume, how } = taken
      return reply.code(201).send({ name: volume.name, backing: volume.backing, how })
    },
  )
  app.post<{ Params: { name: string }; Body: { force?: boolean; end?: boolean } }>(
    '/volumes/:name/drain',
    {
      schema: {
        operationId: 'drainVolume',
        summary: 'No new grants; takes away those not in use, with `force` all; `end` ends it',
        params: ByName,
        body: Type.Object(
          { force: Type.Optional(Type.Boolean()), end: Type.Optional(Type.Boolean()) },
          { additionalProperties: false },
        ),
        response: schemas.responses({ 200: Type.Object({ left: Type.Array(schemas.Grant) }) }),
      },
    },
    async (request) => {
      const peer = peerOfRequest(request.raw)
      const { name } = request.params
      const { force = false, end = false } = request.body
      if (!end) return { left: (await broker.catalog.drain(name, force, peer)).map(grantView) }
      broker.catalog.undrain(name, peer)
      return { left: [] }
    },
  )
}

export function addAdminPolicies(app: FastifyInstance, { broker }: Options): void {
  const View = Type.Object({ name: schemas.Name }, { additionalProperties: true })
  app.get(
    '/policies',
    {
      schema: {
        operationId: 'listPolicies',
        summary: 'Who may have what, and how',
        response: schemas.responses({ 200: Type.Object({ policies: Type.Array(View) }) }),
      },
    },
    () => ({ policies: broker.policies().map(policyView) }),
  )
  app.put<{ Body: schemas.Body<typeof schemas.PolicyBody> }>(
    '/policies',
    {
      schema: {
        operationId: 'putPolicy',
        summary: 'Adds or changes a rule; grants that are no longer allowed are revoked',
        body: schemas.PolicyBody,
        response: schemas.responses({ 200: schemas.Reconciliation }),
      },
    },
    (request) => broker.catalog.putPolicy(toPolicy(request.body), peerOfRequest(request.raw)),
  )
  app.delete<{ Params: { name: string } }>(
    '/policies/:name',
    {
      schema: {
        operationId: 'removePolicy',
        summary: 'Takes a rule back; grants that are no longer allowed are revoked',
        params: ByName,
        response: schemas.responses({ 200: schemas.Reconciliation }),
      },
    },
    async (request) => {
      const report = await broker.catalog.removePolicy(
        request.params.name,
        peerOfRequest(request.raw),
      )
      if (report === undefined) throw new BrokerError('not-found', 'there is no such policy')
      return report
    },
  )
}
