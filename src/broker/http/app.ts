/** What both APIs are made of: exact validation, problem documents, an OpenAPI description. */
import swagger from '@fastify/swagger'
import { fastify, type FastifyError, type FastifyInstance } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Logger } from '../../telemetry/log.ts'
import { BrokerError, toBrokerError } from '../broker-error.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { fromRequestError, sendProblem } from './problem.ts'

export interface AppOptions {
  readonly title: string
  readonly description: string
  readonly log: Logger
}

/** Nothing listens yet: endpoints route their requests to it. */
export async function createApp({ title, description, log }: AppOptions): Promise<FastifyInstance> {
  const app = fastify({
    bodyLimit: HTTP_BOUNDS.bodyBytes,
    routerOptions: { maxParamLength: 256 },
    exposeHeadRoutes: false,
  })
  // Nothing is coerced, nothing left out: what is not in the schema is refused.
  app.setValidatorCompiler(({ schema }) => {
    const validator = Compile(schema as TSchema)
    return (value: unknown) =>
      validator.Check(value) ? { value } : { error: new Error(firstFault(validator, value)) }
  })
  app.setSerializerCompiler(() => JSON.stringify)
  // Only JSON has a body here.
  app.removeContentTypeParser('text/plain')
  app.setErrorHandler((error: FastifyError | BrokerError, request, reply) => {
    const known = error instanceof BrokerError || !('statusCode' in error)
    const problem = known ? toBrokerError(error) : fromRequestError(error)
    if (problem.status >= 500)
      log.error(
        { err: error, cause: problem.cause, path: request.routeOptions.url },
        'a request failed',
      )
    return sendProblem(reply, problem)
  })
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, new BrokerError('not-found', `nothing answers ${request.method} here`)),
  )
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title, description, version: '1' } },
  })
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  return app
}

function firstFault(validator: ReturnType<typeof Compile>, value: unknown): string {
  const faults = [...validator.Errors(value)]
  // "schema is false" says less than the fault beside it.
  const fault = faults.find(({ keyword }) => keyword !== 'boolean') ?? faults[0]
  const unknown = (fault?.params as { additionalProperties?: string[] } | undefined)
    ?.additionalProperties
  const where = (fault?.instancePath ?? '').slice(1).replaceAll('/', '.')
  const what =
    unknown === undefined ? (fault?.message ?? 'is not as it should be') : `has no "${unknown[0]}"`
  return `${where === '' ? 'the request' : `"${where}"`} ${what}`.slice(0, 300)
}
