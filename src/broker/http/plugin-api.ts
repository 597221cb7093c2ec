/**
 * The volume plugin protocol of Docker, which podman speaks too: every call is a POST of JSON, an answer
 * has what was asked for or `Err`. See https://docs.docker.com/engine/extend/plugins_volume/
 */
import { fastify, type FastifyError, type FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Logger } from '../../telemetry/log.ts'
import { BrokerError, toBrokerError } from '../broker-error.ts'
import type { PluginVolumeReport, PluginVolumes } from '../plugin/volumes.ts'
import type { Actor } from '../store/audit.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { peerOfRequest } from './endpoint.ts'
import { fromRequestError } from './problem.ts'
import { iso } from './views.ts'

const MEDIA_TYPE = 'application/vnd.docker.plugins.v1.1+json'

/** Engines may say more than we know. */
const Call = Type.Object({
  // What an engine takes for a name; the volume of an image is 64 hexadecimal digits.
  Name: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$' })),
  ID: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
  Opts: Type.Optional(
    Type.Union([Type.Null(), Type.Record(Type.String({ maxLength: 255 }), Type.String())]),
  ),
})
const call = Compile(Call)

type Handler = (body: Static<typeof Call>, actor: Actor) => unknown

export async function createPluginApi(
  volumes: PluginVolumes,
  log: Logger,
): Promise<FastifyInstance> {
  const app = fastify({ bodyLimit: HTTP_BOUNDS.bodyBytes, exposeHeadRoutes: false })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_, text, done) => {
    try {
      done(null, text === '' ? {} : JSON.parse(String(text)))
    } catch {
      done(new BrokerError('bad-request', 'the request cannot be read as JSON'))
    }
  })
  app.setErrorHandler((error: FastifyError | BrokerError, request, reply) => {
    const known = error instanceof BrokerError || !('statusCode' in error)
    const problem = known ? toBrokerError(error) : fromRequestError(error)
    if (problem.status >= 500) log.error({ err: error, call: request.url }, 'a plugin call failed')
    // Any other status than 200 is a failure to an engine; the reference has this one.
    return reply.code(500).type(MEDIA_TYPE).send({ Err: problem.message })
  })
  for (const [name, handle] of Object.entries(handlers(volumes)))
    app.post(`/${name}`, async (request, reply) => {
      const { body = {} } = request
      if (!call.Check(body)) throw new BrokerError('bad-request', `this is no ${name}`)
      const { uid, pid, container } = peerOfRequest(request.raw)
      const answer = await handle(body, { uid, pid, container })
      return reply.type(MEDIA_TYPE).send(answer)
    })
  await app.ready()
  return app
}

function handlers(volumes: PluginVolumes): Readonly<Record<string, Handler>> {
  const mountpoint = (report: PluginVolumeReport) => ({ Mountpoint: report.mountPoint ?? '' })
  return {
    'Plugin.Activate': () => ({ Implements: ['VolumeDriver'] }),
    // Volumes are this machine's, as far as an engine is concerned.
    'VolumeDriver.Capabilities': () => ({ Capabilities: { Scope: 'local' } }),
    'VolumeDriver.Create': async ({ Name, Opts }, actor) => {
      await volumes.create(given(Name, 'Name'), Opts ?? {}, actor)
      return { Err: '' }
    },
    'VolumeDriver.Remove': async ({ Name }, actor) => {
      await volumes.remove(given(Name, 'Name'), actor)
      return { Err: '' }
    },
    'VolumeDriver.Mount': async ({ Name, ID }, actor) => ({
      Mountpoint: await volumes.mount(given(Name, 'Name'), given(ID, 'ID'), actor),
      Err: '',
    }),
    'VolumeDriver.Unmount': async ({ Name, ID }, actor) => {
      await volumes.unmount(given(Name, 'Name'), given(ID, 'ID'), actor)
      return { Err: '' }
    },
    'VolumeDriver.Path': ({ Name }) => ({
      ...mountpoint(volumes.get(given(Name, 'Name'))),
      Err: '',
    }),
    'VolumeDriver.Get': ({ Name }) => ({ Volume: view(volumes.get(given(Name, 'Name'))), Err: '' }),
    'VolumeDriver.List': () => ({ Volumes: volumes.list().map(view), Err: '' }),
  }
}

function view({ volume, mountPoint, mounts }: PluginVolumeReport) {
  const { tenant, request } = volume
  const { volume: name, mode, at, subpath } = request
  return {
    Name: volume.name,
    Mountpoint: mountPoint ?? '',
    CreatedAt: iso(volume.createdAtMs),
    Status: { tenant, volume: name, mode, at, subpath, mounts },
  }
}

function given(value: string | undefined, key: string): string {
  if (value !== undefined) return value
  throw new BrokerError('bad-request', `"${key}" is missing`)
}
