/**
 * Idempotency-Key: the answer of a request that was repeated, because its first answer was lost. Only
 * what was done is kept; a refusal or a failure is judged anew.
 */
import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { BrokerError } from '../broker-error.ts'
import type { IdempotencyKeys } from '../store/idempotency.ts'

const KEY = /^[\x21-\x7e]{1,128}$/

export interface Answer {
  readonly status: number
  readonly body: unknown
}

export class Idempotency {
  readonly #keys: IdempotencyKeys
  readonly #underWay = new Set<string>()

  constructor(keys: IdempotencyKeys) {
    this.#keys = keys
  }

  async once(
    tenant: string,
    request: FastifyRequest,
    reply: FastifyReply,
    work: (key: string | undefined) => Promise<Answer>,
  ): Promise<FastifyReply> {
    const key = keyOf(request)
    if (key === undefined) return await send(reply, await work(undefined))
    const fingerprint = createHash('sha256')
      .update(`${request.method} ${request.routeOptions.url}\n${JSON.stringify(request.body)}`)
      .digest('hex')
    const known = this.#keys.find(tenant, key, Date.now())
    if (known !== undefined) {
      if (known.fingerprint !== fingerprint)
        throw new BrokerError('key-reused', 'this Idempotency-Key came with another request')
      reply.header('idempotency-replayed', 'true')
      return await send(reply, { status: known.status, body: JSON.parse(known.body) as unknown })
    }
    const place = `${tenant}\n${key}`
    if (this.#underWay.has(place))
      throw new BrokerError('key-in-use', 'the request with this Idempotency-Key is under way')
    this.#underWay.add(place)
    try {
      const answer = await work(key)
      const body = JSON.stringify(answer.body)
      this.#keys.save(tenant, key, { fingerprint, status: answer.status, body }, Date.now())
      return await send(reply, answer)
    } finally {
      this.#underWay.delete(place)
    }
  }
}

function keyOf(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key']
  if (key === undefined) return undefined
  if (typeof key === 'string' && KEY.test(key)) return key
  throw new BrokerError('bad-request', 'an Idempotency-Key is 1 to 128 printable characters')
}

async function send(reply: FastifyReply, { status, body }: Answer): Promise<FastifyReply> {
  return await reply.code(status).type('application/json').send(body)
}
