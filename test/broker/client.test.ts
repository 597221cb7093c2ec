/** The client is what the endpoint says of itself: checked in, and made anew to compare. */
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { InsituClient, ProblemError } from '../../src/broker/client.ts'
import { generate, output } from '../../scripts/client/generate.ts'
import { Endpoints } from '../support/endpoints.ts'

const test = suite('client')

test('is not stale: else run scripts/client/generate', async () => {
  assert.fixture(readFileSync(output, 'utf8'), await generate())
})

test('each operation is asked for where the description says', async () => {
  await using endpoints = await Endpoints.create()
  const client = new InsituClient(endpoints.socket('acme'))
  const stop = new AbortController()
  const events = client.events(stop.signal)
  const first = events.next()
  const [{ name, ro } = { name: '', ro: '' }] = await client.volumes()
  assert.equal([name, ro], ['data', 'allowed'])
  assert.is((await client.explain({ volume: 'data', at: 'a' })).volume, 'data')
  assert.equal(await client.grants(), [])
  const grant = await client.mount({ volume: 'data', at: 'a', ttl: 60 }, 'key')
  assert.equal(await client.mount({ volume: 'data', at: 'a', ttl: 60 }, 'key'), grant)
  assert.equal(await client.grants(), [grant])
  const notice = (await first).value as { type: string; grant: object }
  assert.equal([notice.type, notice.grant], ['mounted', grant])
  stop.abort()
  await events.next().catch(() => undefined)
  assert.is((await client.unmount({ at: 'a', force: true }))?.id, grant.id)
  assert.is(await client.unmount({ at: 'a' }), undefined)
  const answer = await client.compute({ directory: '', program: '1' })
  const { etag = '' } = answer ?? {}
  assert.match(etag, /^"/)
  answer?.stream.resume()
  assert.is(await client.compute({ directory: '', program: '1' }, { etag }), undefined)
  const refused = await client
    .mount({ volume: 'nothere', at: 'b' })
    .catch((error: unknown) => error)
  assert.instance(refused, ProblemError)
  assert.is((refused as ProblemError).code, 'unknown-volume')
})

test.run()
