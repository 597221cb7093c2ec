/**
 * `src/broker/client-api.ts`, from the description that the endpoint gives of itself: its types, by
 * openapi-typescript, and which method and path an operation is. A test says when it is stale.
 */
import { fileURLToPath } from 'node:url'
import openapi, { astToString, type OpenAPI3 } from 'openapi-typescript'
import { format, resolveConfig } from 'prettier'
import { byName } from '../../src/broker/policy.ts'
import { Endpoints } from '../../test/support/endpoints.ts'
import { ask } from '../../test/support/unix-http.ts'

export const output = fileURLToPath(new URL('../../src/broker/client-api.ts', import.meta.url))

const HEAD = `/** Made by scripts/client/generate from the tenant's /openapi.json: change that, and make it anew. */
`

export async function generate(): Promise<string> {
  await using endpoints = await Endpoints.create()
  const { json } = await ask(endpoints.socket('acme'), '/openapi.json')
  const description = json as unknown as OpenAPI3
  const types = astToString(await openapi(description, { alphabetize: true }))
  const text = `${HEAD}${types}\n${operationsOf(description)}`
  return await format(text, { ...(await resolveConfig(output)), filepath: output })
}

function operationsOf({ paths = {} }: OpenAPI3): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, { operationId: string }>).map(
      ([method, { operationId }]) => [operationId, { method: method.toUpperCase(), path }] as const,
    ),
  )
  const table = JSON.stringify(
    Object.fromEntries(operations.toSorted(([one], [other]) => byName(one, other))),
  )
  return `export const OPERATIONS = ${table} as const satisfies Record<keyof operations, { readonly method: string; readonly path: string }>\n`
}
