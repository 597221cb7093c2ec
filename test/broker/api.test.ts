/** The endpoints over real sockets: what they answer, and that it is what their description says. */
import { createHash } from 'node:crypto'
import { readdirSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Compile } from 'typebox/compile'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ask, type Answer } from '../support/unix-http.ts'
import { Endpoints } from '../support/endpoints.ts'
import { policyNamed } from '../support/broker-world.ts'
import type { GrantEvent } from '../../src/broker/events.ts'

const test = suite('broker API')

type Body = (endpoints: Endpoints, acme: string) => Promise<void>

function add(name: string, body: Body): void {
  test(name, async () => {
    await using endpoints = await Endpoints.create()
    await body(endpoints, endpoints.socket('acme'))
  })
}

interface Described {
  readonly paths: Record<string, Record<string, Operation>>
}
interface Operation {
  readonly operationId: string
  readonly responses: Record<string, { content?: Record<string, { schema: object }> }>
}

/** Whether an answer is what the API's own description says. */
async function conforms(socket: string, method: string, route: string, answer: Answer) {
  const description = (await ask(socket, '/openapi.json')).json as unknown as Described
  const operation = description.paths[route]?.[method]
  if (operation === undefined) throw new Error(`${method} ${route} is not described`)
  const range = answer.status >= 500 ? '5XX' : '4XX'
  const response = operation.responses[String(answer.status)] ?? operation.responses[range]
  const type = String(answer.headers['content-type']).split(';')[0] ?? ''
  const schema = response?.content?.[type]?.schema
  if (schema === undefined) throw new Error(`${answer.status} ${type} is not described`)
  const validator = Compile(schema as never)
  const [fault] = [...validator.Errors(answer.json)]
  assert.is(fault, undefined, `${method} ${route}: ${JSON.stringify(fault)}`)
}

function problem(answer: Answer, code: string): void {
  assert.is(answer.json['code'], code, answer.text)
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json/)
  assert.is(answer.json['type'], `urn:insitu:problem:${code}`)
  assert.is(answer.json['status'], answer.status)
}

add('mounts, lists, takes away', async (endpoints, acme) => {
  const mounted = await ask(acme, '/mount', { body: { volume: 'data', at: 'a/b', ttl: 60 } })
  assert.is(mounted.status, 201)
  await conforms(acme, 'post', '/mount', mounted)
  assert.equal(endpoints.mount('acme').paths, ['a/b'])
  const { createdAt, expiresAt } = mounted.json as { createdAt: string; expiresAt: string }
  assert.is(Date.parse(expiresAt) - Date.parse(createdAt), 60_000)
  const grants = await ask(acme, '/grants')
  await conforms(acme, 'get', '/grants', grants)
  assert.equal(grants.json['grants'], [mounted.json])
  const gone = await ask(acme, '/unmount', { body: { at: 'a/b' } })
  await conforms(acme, 'post', '/unmount', gone)
  assert.is((gone.json['unmounted'] as { at: string }).at, 'a/b')
  const again = await ask(acme, '/unmount', { body: { grant: mounted.json['id'] } })
  assert.equal([again.status, again.json], [200, {}])
})

add('chooses by description, and explains without doing', async (endpoints, acme) => {
  const body = { select: { class: 'fast', labels: { kind: 'logs' } }, at: 'x', mode: 'rw' }
  const dry = await ask(acme, '/mount', { body: { ...body, dryRun: true } })
  assert.is(dry.status, 200)
  await conforms(acme, 'post', '/mount', dry)
  assert.is(dry.json['volume'], 'logs')
  const explanations = dry.json['explanations'] as { refusal?: { code: string } }[]
  assert.equal(
    explanations.map(({ refusal }) => refusal?.code),
    ['label-mismatch', undefined, 'label-mismatch'],
  )
  assert.equal(endpoints.mount('acme').paths, [])
  const done = await ask(acme, '/mount', { body })
  assert.is(done.json['volume'], 'logs')
  const none = await ask(acme, '/mount', { body: { ...body, at: 'y', select: { class: 'slow' } } })
  problem(none, 'class-mismatch')
  await conforms(acme, 'post', '/mount', none)
})

add('says which volumes there are, and why not', async (endpoints, acme) => {
  await endpoints.configure([
    policyNamed('read', { modes: ['ro'], volumes: { names: ['data'], labels: {} } }),
    policyNamed('hint', {
      modes: [],
      volumes: { names: ['logs'], labels: {} },
      discoverable: true,
    }),
  ])
  const listed = await ask(acme, '/volumes')
  await conforms(acme, 'get', '/volumes', listed)
  const volumes = listed.json['volumes'] as { name: string; ro: unknown; rw: { code: string } }[]
  assert.equal(
    volumes.map(({ name, ro, rw }) => [name, ro === 'allowed', rw.code]),
    [
      ['data', true, 'mode-not-allowed'],
      ['logs', false, 'no-policy'],
    ],
  )
  assert.not.match(listed.text, /secret|volumes\/data/) // no path of the host either
  const hidden = await ask(acme, '/mount', { body: { volume: 'secret', at: 'x' } })
  const missing = await ask(acme, '/mount', { body: { volume: 'nothere', at: 'x' } })
  problem(hidden, 'unknown-volume')
  assert.is(hidden.text.replaceAll('secret', 'nothere'), missing.text)
})

add('refuses what it does not know, and coerces nothing', async (endpoints, acme) => {
  const good = { volume: 'data', at: 'a' }
  for (const bad of [
    { ...good, nonsense: 1 },
    { ...good, at: 5 },
    { ...good, ttl: '60' },
    { ...good, ttl: 0 },
    { ...good, ttl: 1.5 },
    { ...good, mode: 'RO' },
    { ...good, compute: 'true' },
    { ...good, quotaBytes: -1 },
    { ...good, quotaBytes: 1e300 },
    { ...good, volume: '../etc' },
    { ...good, volume: null },
    { ...good, select: {} },
    { at: 'a' },
    { volume: 'data' },
    { select: { label: {} }, at: 'a' },
    [],
    'text',
    null,
  ])
    problem(await ask(acme, '/mount', { body: bad }), 'bad-request')
  for (const at of ['', '/etc', '../bolt', 'a/../b', 'a\0b', 'a\nb', '.compute', 'x'.repeat(256)])
    problem(await ask(acme, '/mount', { body: { volume: 'data', at } }), 'bad-path')
  for (const subpath of ['/etc', '..', 'a/../../b', 'a//b'])
    problem(await ask(acme, '/mount', { body: { ...good, subpath } }), 'bad-path')
  problem(await ask(acme, '/unmount', { body: {} }), 'bad-request')
  problem(await ask(acme, '/unmount', { body: { at: 'a', grant: 'b' } }), 'bad-request')
  problem(await ask(acme, '/nowhere'), 'not-found')
  problem(await ask(acme, '/mount', { method: 'GET' }), 'not-found')
  problem(await ask(acme, '/grants', { method: 'HEAD', headers: {} }).then(withBody), 'not-found')
  assert.equal(endpoints.mount('acme').calls, [])
})

/** A HEAD has none. */
function withBody(answer: Answer): Answer {
  assert.is(answer.status, 404)
  return {
    ...answer,
    json: { code: 'not-found', type: 'urn:insitu:problem:not-found', status: 404 },
  }
}

add('a repeated request has the same answer', async (endpoints, acme) => {
  const asked = { body: { volume: 'data', at: 'a' }, headers: { 'idempotency-key': 'k-1' } }
  const first = await ask(acme, '/mount', asked)
  const second = await ask(acme, '/mount', asked)
  assert.equal([second.status, second.json], [201, first.json])
  assert.is(second.headers['idempotency-replayed'], 'true')
  assert.is(endpoints.mount('acme').calls.length, 1)
  problem(await ask(acme, '/mount', { ...asked, body: { volume: 'logs', at: 'a' } }), 'key-reused')
  problem(
    await ask(acme, '/mount', { ...asked, headers: { 'idempotency-key': 'x'.repeat(129) } }),
    'bad-request',
  )
  // The key is the tenant's own.
  const other = await ask(endpoints.socket('bolt'), '/mount', asked)
  assert.is(other.status, 201)
  assert.is.not(other.json['id'], first.json['id'])
  // Without a key it is another request.
  problem(await ask(acme, '/mount', { body: asked.body }), 'at-taken')
})

add('a thousand at once: one has it', async (endpoints, acme) => {
  const body = { volume: 'data', at: 'one' }
  const answers: Answer[] = []
  const left = Array.from({ length: 1_000 }).values()
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      for (const _ of left) answers.push(await ask(acme, '/mount', { body }))
    }),
  )
  const counts = Map.groupBy(answers, ({ status }) => status)
  assert.is(counts.get(201)?.length, 1)
  for (const { status, json } of answers)
    assert.ok([201, 409, 429].includes(status), JSON.stringify(json))
  assert.equal(endpoints.mount('acme').paths, ['one'])
})

add('says what is in use, and takes it by force', async (endpoints, acme) => {
  await ask(acme, '/mount', { body: { volume: 'data', at: 'a' } })
  for (const each of endpoints.mount('acme').standing.values()) each.openHandles = 1
  const busy = await ask(acme, '/unmount', { body: { at: 'a' } })
  problem(busy, 'busy')
  assert.equal(busy.json['holders'], [])
  assert.is((await ask(acme, '/unmount', { body: { at: 'a', force: true } })).status, 200)
})

add('tells what happens, to its own tenant only', async (endpoints, acme) => {
  let text = ''
  const request = httpRequest({ socketPath: acme, path: '/events' }, (response) => {
    response.on('data', (chunk: Buffer) => (text += chunk.toString()))
  })
  request.on('error', () => undefined)
  request.end()
  while (!text.includes(': listening')) await sleep(5)
  await ask(endpoints.socket('bolt'), '/mount', { body: { volume: 'data', at: 'theirs' } })
  await ask(acme, '/mount', { body: { volume: 'data', at: 'ours' } })
  await ask(acme, '/unmount', { body: { at: 'ours' } })
  while (!text.includes('event: unmounted')) await sleep(5)
  const events = text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as GrantEvent)
  assert.equal(
    events.map(({ type, grant }) => [type, grant.at]),
    [
      ['mounted', 'ours'],
      ['unmounted', 'ours'],
    ],
  )
  request.destroy()
})

add('computes: the result is the answer, and nothing is left', async (endpoints, acme) => {
  const body = { directory: 'a', program: 'emit("x", 1)' }
  const done = await ask(acme, '/compute', { body })
  assert.is(done.status, 200)
  assert.is(done.text, '0 ran emit("x", 1)')
  const { etag } = done.headers
  const digest = createHash('sha256').update(done.text).digest('hex').slice(0, 32)
  assert.is(etag, `"${digest}"`)
  const same = await ask(acme, '/compute', { body, headers: { 'if-none-match': String(etag) } })
  assert.equal([same.status, same.text], [304, ''])
  const withParams = await ask(acme, '/compute', { body: { ...body, params: { k: "'\u2028" } } })
  assert.match(withParams.text, /const params = JSON\.parse\(".*"\); emit/)
  problem(await ask(acme, '/compute', { body: { ...body, directory: '../x' } }), 'bad-path')
  problem(await ask(acme, '/compute', { body: { ...body, result: 'other' } }), 'not-found')
  endpoints.evaluate = async (_, __, ___, { folder }) => {
    writeFileSync(path.join(folder, 'a.json'), '[1]')
    writeFileSync(path.join(folder, 'b.html'), '<script>')
    const results = ['a.json', 'b.html'].map((name) => ({ name, sizeBytes: 1 }))
    return { results, usage: {} as never }
  }
  problem(await ask(acme, '/compute', { body }), 'not-found')
  const json = await ask(acme, '/compute', { body: { ...body, result: 'a.json' } })
  assert.equal([json.headers['content-type'], json.text], ['application/json', '[1]'])
  const html = await ask(acme, '/compute', { body: { ...body, result: 'b.html' } })
  assert.is(html.headers['content-type'], 'application/octet-stream')
  // It goes once the answer is through.
  while (readdirSync(path.join(endpoints.scratch, 'spool')).length > 0) await sleep(5)
})

add('a program that fails says where; one that nobody waits for ends', async (endpoints, acme) => {
  const body = { directory: '', program: 'x' }
  endpoints.evaluate = (_, __, ___, { onLog }) => {
    onLog('a word')
    const failure = { name: 'TypeError', message: 'no', line: 3, column: 7, limit: undefined }
    return Promise.reject(Object.assign(new Error('failed'), { failure }))
  }
  const failed = await ask(acme, '/compute', { body })
  problem(failed, 'program-failed')
  assert.equal([failed.json['line'], failed.json['column'], failed.json['log']], [3, 7, 'a word'])
  const aborted = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  endpoints.evaluate = async (_, __, ___, { signal }) => {
    begun.resolve()
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    aborted.resolve()
    throw new Error('cancelled')
  }
  const request = httpRequest({
    socketPath: acme,
    path: '/compute',
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  })
  request.on('error', () => undefined)
  request.end(JSON.stringify(body))
  await begun.promise
  request.destroy()
  await aborted.promise
})

add('the operator: health, volumes, policies, grants, tenants, audit', async (endpoints) => {
  const { admin } = endpoints
  for (const route of [
    '/livez',
    '/readyz',
    '/tenants',
    '/volumes',
    '/policies',
    '/grants',
    '/audit',
  ]) {
    const answer = await ask(admin, route)
    assert.is(answer.status, 200, route)
    await conforms(admin, 'get', route, answer)
  }
  assert.match((await ask(admin, '/metrics')).text, /insitu_tenants 2/)
  const made = path.join(endpoints.scratch, 'volumes', 'data')
  const put = await ask(admin, '/volumes', {
    method: 'PUT',
    body: { name: 'made', backing: made, labels: { a: 'b' } },
  })
  assert.is(put.status, 200, put.text)
  await conforms(admin, 'put', '/volumes', put)
  const acme = endpoints.socket('acme')
  const { json: grant } = await ask(acme, '/mount', { body: { volume: 'made', at: 'm' } })
  problem(await ask(admin, '/volumes/made', { method: 'DELETE' }), 'in-use')
  const shown = await ask(admin, `/grants/${String(grant['id'])}`)
  await conforms(admin, 'get', '/grants/{name}', shown)
  const drained = await ask(admin, '/volumes/made/drain', { body: {} })
  await conforms(admin, 'post', '/volumes/{name}/drain', drained)
  assert.equal(endpoints.mount('acme').paths, [])
  assert.is((await ask(admin, '/volumes/made', { method: 'DELETE' })).status, 200)
  problem(await ask(admin, '/volumes/data', { method: 'DELETE' }), 'exists')
  const rule = { name: 'wide', tenants: ['*'], volumes: { names: ['*'] }, modes: ['ro'] }
  await endpoints.configure([])
  assert.is((await ask(admin, '/policies', { method: 'PUT', body: rule })).status, 200)
  const { json: second } = await ask(acme, '/mount', { body: { volume: 'data', at: 'm' } })
  assert.is(second['policy'], 'wide')
  const revoked = await ask(admin, `/grants/${String(second['id'])}`, { method: 'DELETE' })
  await conforms(admin, 'delete', '/grants/{name}', revoked)
  await ask(acme, '/mount', { body: { volume: 'data', at: 'm' } })
  const removed = await ask(admin, '/policies/wide', { method: 'DELETE' })
  assert.is(removed.json['revoked'], 1)
  const ids = { first: 300_000, count: 10 }
  const added = await ask(admin, '/tenants', { body: { name: 'core', ids } })
  assert.is(added.status, 201)
  problem(await ask(admin, '/tenants', { body: { name: 'core', ids } }), 'exists')
  assert.is((await ask(endpoints.socket('core'), '/grants')).status, 200)
  assert.is((await ask(admin, '/tenants/core?purge=true', { method: 'DELETE' })).status, 200)
  problem(await ask(admin, '/tenants/core', { method: 'DELETE' }), 'not-found')
  problem(await ask(admin, '/audit?limit=x'), 'bad-request')
  const audit = await ask(admin, '/audit?tenant=acme')
  await conforms(admin, 'get', '/audit', audit)
  const actions = (audit.json['entries'] as { action: string }[]).map(({ action }) => action)
  assert.equal(actions, ['revoke', 'mount', 'revoke', 'mount', 'revoke', 'mount'])
})

add('every route is described, and every described one is there', async (endpoints, acme) => {
  for (const socket of [acme, endpoints.admin]) {
    const description = (await ask(socket, '/openapi.json')).json as unknown as Described
    const ids = new Set<string>()
    for (const [route, operations] of Object.entries(description.paths))
      for (const [method, { operationId }] of Object.entries(operations)) {
        assert.not.ok(ids.has(operationId), operationId)
        ids.add(operationId)
        // Without a body, or with a name that nobody has: answered, and not by "nothing answers".
        if (route === '/events') continue
        const answer = await ask(socket, route.replace('{name}', 'nobody'), {
          method: method.toUpperCase(),
        })
        assert.not.match(answer.text, /nothing answers/, `${method} ${route}`)
      }
    assert.ok(ids.size >= 6)
  }
})

test.run()
