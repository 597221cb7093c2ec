/** Volumes inside running containers, on the admin socket: whoever may enter any container is root. */
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { identify } from '../../containers/consumer.ts'
import type { GrantBroker } from '../broker.ts'
import { BrokerError } from '../broker-error.ts'
import { atInside, faultOfTarget } from '../paths.ts'
import type { ContainerPlace } from '../types.ts'
import { closing } from './closing.ts'
import { peerOfRequest } from './endpoint.ts'
import * as schemas from './schemas.ts'
import { grantView, toMountRequest } from './views.ts'

interface Options {
  readonly broker: GrantBroker
}

export function addAdminContainers(app: FastifyInstance, { broker }: Options): void {
  app.post<{ Body: schemas.Body<typeof schemas.MountInsideBody> }>(
    '/containers/mount',
    {
      schema: {
        operationId: 'mountInside',
        summary: 'Puts a volume inside a running container; done when it is seen there',
        body: schemas.MountInsideBody,
        response: schemas.responses({ 201: schemas.Grant }),
      },
    },
    async (request, reply) => {
      const {
        tenant,
        pid: _,
        startTicks: __,
        container: ___,
        target: ____,
        ...wanted
      } = request.body
      const { place: inside, uid } = await placeOf(request.body)
      const other = broker.whose(uid)
      if (other !== undefined && other !== tenant)
        throw new BrokerError('forbidden', `process ${inside.consumer.pid} is another tenant's`)
      // Its grammar is not that of a tenant's paths.
      const asked = toMountRequest({ ...wanted, at: 'inside' })
      const actor = peerOfRequest(request.raw)
      const { grant } = await broker.mount(
        tenant,
        { ...asked, inside, at: atInside(inside) },
        { actor, key: undefined },
      )
      return reply.code(201).send(grantView(grant))
    },
  )
  app.post<{ Body: schemas.Body<typeof schemas.UnmountInsideBody> }>(
    '/containers/unmount',
    {
      schema: {
        operationId: 'unmountInside',
        summary: 'Takes it out again; empty when nothing was there',
        body: schemas.UnmountInsideBody,
        response: schemas.responses({
          200: Type.Object({ unmounted: Type.Optional(schemas.Grant) }),
        }),
      },
    },
    async (request, reply) => {
      const { tenant, force = false, waitMs = 0 } = request.body
      const options = { force, waitMs, signal: closing(reply) }
      const { place } = await placeOf(request.body)
      const actor = peerOfRequest(request.raw)
      const gone = await broker.unmountInside(tenant, place, options, actor)
      return gone === undefined ? {} : { unmounted: grantView(gone) }
    },
  )
}

async function placeOf({
  pid,
  startTicks,
  container,
  target,
}: schemas.Body<typeof schemas.UnmountInsideBody>): Promise<{
  readonly place: ContainerPlace
  /** Of the process, on the host. */
  readonly uid: number
}> {
  const fault = faultOfTarget(target)
  if (fault !== undefined) throw new BrokerError('bad-path', `"target": ${fault}`)
  const identified = await identify(pid, { container, startTicks })
  if ('fault' in identified) throw new BrokerError('container-gone', identified.fault)
  return { place: { consumer: identified.consumer, target }, uid: identified.uid }
}
