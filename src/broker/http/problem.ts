/** Errors as RFC 9457 problem documents; the type names the code, which is what programs look at. */
import type { FastifyError, FastifyReply } from 'fastify'
import { BrokerError, toBrokerError, type ProblemCode } from '../broker-error.ts'

export const PROBLEM_TYPE = 'application/problem+json'

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ProblemCode
}

export function toProblem(error: BrokerError): Problem {
  return {
    ...error.details,
    type: `urn:insitu:problem:${error.code}`,
    title: error.code.replaceAll('-', ' '),
    status: error.status,
    detail: error.message,
    code: error.code,
  }
}

export function sendProblem(reply: FastifyReply, error: BrokerError): FastifyReply {
  return reply.code(error.status).type(PROBLEM_TYPE).send(toProblem(error))
}

/** What fastify finds wrong with a request, in our codes. */
export function fromRequestError(error: FastifyError): BrokerError {
  if (error.validation !== undefined) return new BrokerError('bad-request', error.message)
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new BrokerError('too-large', 'the body is too large')
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new BrokerError('unsupported-media-type', 'a body is application/json')
    default:
      if ((error.statusCode ?? 500) < 500)
        return new BrokerError('bad-request', 'the request cannot be read as JSON')
      return toBrokerError(error)
  }
}

/** For what is no request of HTTP, and for whom there is no request. */
export function rawProblem(error: BrokerError): string {
  const body = JSON.stringify(toProblem(error))
  return (
    `HTTP/1.1 ${error.status} ${error.code}\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
  )
}
