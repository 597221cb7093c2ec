/** Two tenants and a third user on one machine, against each other over real sockets; and bytes that no
 * client should send. Needs root, to be other users. */
import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Rate } from '../../src/broker/http/rate.ts'
import { containerIn } from '../../src/containers/consumer.ts'
import { ACME, BOLT, Endpoints, OTHER } from '../support/endpoints.ts'
import { ask, askAs, asksAs, raw } from '../support/unix-http.ts'
import { policyNamed } from '../support/broker-world.ts'

const test = suite('broker security')
const isRoot = process.getuid?.() === 0
if (!isRoot) console.log('SKIP broker security: not root, so there are no other users')

function add(name: string, body: (endpoints: Endpoints) => Promise<void>): void {
  test(name, async () => {
    if (!isRoot) return
    await using endpoints = await Endpoints.create()
    await body(endpoints)
  })
}

add('each tenant has its own endpoint; nobody else has it', async (endpoints) => {
  const [acme, bolt] = [endpoints.socket('acme'), endpoints.socket('bolt')]
  const asked = { body: { volume: 'data', at: 'a' } }
  assert.is((await askAs(ACME, acme, '/mount', asked)).status, 201)
  assert.is((await askAs(ACME + 999, acme, '/grants')).status, 200)
  assert.is((await askAs(BOLT, bolt, '/grants')).status, 200)
  for (const [uid, socket] of [
    [BOLT, acme],
    [OTHER, acme],
    [ACME + 1_000, acme], // the first id beyond
    [ACME - 1, acme],
    [ACME, bolt],
    [OTHER, bolt],
  ] as const)
    for (const answer of await asksAs(uid, socket, [
      ['/grants', {}],
      ['/volumes', {}],
      ['/mount', asked],
      ['/events', {}],
      ['/openapi.json', {}],
    ])) {
      assert.is(answer.status, 403, String(uid))
      assert.is(answer.json['code'], 'forbidden')
      assert.not.match(answer.text, /data|acme|bolt|"a"/)
    }
  assert.equal(endpoints.mount('acme').paths, ['a'])
  assert.equal(endpoints.mount('bolt').paths, [])
  const audit = await ask(endpoints.admin, '/audit?action=connect')
  const entries = audit.json['entries'] as { uid: number; tenant: string; outcome: string }[]
  const seen = new Set(entries.map(({ uid, tenant }) => `${uid} ${tenant}`))
  assert.ok(seen.has(`${BOLT} acme`) && seen.has(`${OTHER} acme`) && seen.has(`${ACME} bolt`))
  // However often they try, it is told once.
  assert.is(entries.length, seen.size)
})

add('the audit says who mounted: uid and pid of the caller', async (endpoints) => {
  await askAs(ACME + 5, endpoints.socket('acme'), '/mount', { body: { volume: 'data', at: 'a' } })
  const audit = await ask(endpoints.admin, '/audit?action=mount')
  const [entry] = audit.json['entries'] as { uid: number; pid: number }[]
  assert.is(entry?.uid, ACME + 5)
  assert.ok((entry?.pid ?? 0) > 1 && entry?.pid !== process.pid)
})

add('programs run with the rights of the caller, not of the daemon', async (endpoints) => {
  const body = { directory: '', program: 'x' }
  const answer = await askAs(ACME + 7, endpoints.socket('acme'), '/compute', { body })
  assert.is(answer.text, `${ACME + 7} ran x`)
})

add('the admin socket is of root', async (endpoints) => {
  for (const uid of [ACME, OTHER]) {
    const answer = await askAs(uid, endpoints.admin, '/tenants')
    assert.equal([answer.status, answer.text], [0, 'EACCES'])
  }
})

add('a grant of another tenant is none, whatever is tried', async (endpoints) => {
  const [acme, bolt] = [endpoints.socket('acme'), endpoints.socket('bolt')]
  const { json: grant } = await ask(acme, '/mount', { body: { volume: 'data', at: 'a' } })
  const id = String(grant['id'])
  const answers = await asksAs(BOLT, bolt, [
    ['/unmount', { body: { grant: id, force: true } }],
    ['/unmount', { body: { at: 'a', force: true } }],
    ['/unmount', { body: { grant: 'nosuchgrant' } }],
    ['/grants', {}],
  ])
  // As if it were nothing.
  assert.equal(
    answers.map(({ status, json }) => [status, json]),
    [
      [200, {}],
      [200, {}],
      [200, {}],
      [200, { grants: [] }],
    ],
  )
  assert.equal(endpoints.mount('acme').paths, ['a'])
})

add('what one may have says nothing to the other', async (endpoints) => {
  await endpoints.configure([
    policyNamed('acme', { tenants: ['acme'] }),
    policyNamed('bolt', { tenants: ['bolt'], volumes: { names: ['logs'], labels: {} } }),
  ])
  const bolt = endpoints.socket('bolt')
  const { json } = await ask(bolt, '/volumes')
  const names = (json['volumes'] as { name: string }[]).map(({ name }) => name)
  assert.equal(names, ['logs'])
  const chosen = await ask(bolt, '/mount', { body: { select: {}, at: 'x', dryRun: true } })
  assert.not.match(chosen.text, /secret|data"/)
})

test('sockets are as open as they should be, whatever the umask says', async () => {
  const before = process.umask(0o077)
  try {
    await using endpoints = await Endpoints.create()
    assert.is(statSync(endpoints.socket('acme')).mode & 0o777, 0o666)
    assert.is(statSync(endpoints.admin).mode & 0o777, 0o600)
    assert.is(process.umask(), 0o077)
  } finally {
    process.umask(before)
  }
})

add('bytes that are no request', async (endpoints) => {
  const acme = endpoints.socket('acme')
  for (const bytes of [
    'nonsense\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    'GET /grants HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello',
    'POST /mount HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello',
    `GET /grants HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`,
    Buffer.from([0x16, 0x03, 0x01, 0x00, 0x00, 0x0d, 0x0a, 0x0d, 0x0a]),
  ]) {
    const answer = await raw(acme, bytes)
    assert.match(answer, /^HTTP\/1\.1 4\d\d /, String(bytes).slice(0, 60))
    assert.match(answer, /application\/problem\+json/)
  }
  for (const [type, body, code] of [
    ['application/json', '{"volume":', 'bad-request'],
    ['application/json', '{"__proto__":{"x":1},"volume":"data","at":"a"}', 'bad-request'],
    ['application/json', '', 'bad-request'],
    ['text/plain', 'x', 'unsupported-media-type'],
    ['application/x-www-form-urlencoded', 'volume=data&at=a', 'unsupported-media-type'],
    ['application/json', `{"at":"${'x'.repeat(70_000)}"}`, 'too-large'],
  ] as const) {
    const answer = await raw(
      acme,
      `POST /mount HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: ${type}\r\n` +
        `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
    assert.match(answer, new RegExp(`"code":"${code}"`), `${type} ${body.slice(0, 40)}`)
  }
  // It still answers.
  assert.is((await ask(acme, '/grants')).status, 200)
})

add('a slow client is cut off, and delays nobody', async (endpoints) => {
  const acme = endpoints.socket('acme')
  const started = Date.now()
  const slow = Array.from({ length: 20 }, () => raw(acme, 'POST /mount HTTP/1.1\r\nHost: x\r\n'))
  assert.is((await ask(acme, '/grants')).status, 200)
  await Promise.all(slow)
  assert.ok(Date.now() - started < 15_000)
})

add('connections are bounded; an outsider takes none of them', async (endpoints) => {
  const acme = endpoints.socket('acme')
  const open = Array.from({ length: 128 }, () => connect(acme))
  for (const socket of open) socket.on('error', () => undefined)
  await Promise.all(open.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  await sleep(50)
  assert.is((await ask(acme, '/grants')).json['code'], 'too-many-requests')
  assert.is((await ask(endpoints.socket('bolt'), '/grants')).status, 200)
  for (const socket of open) socket.destroy()
  await sleep(50)
  assert.is((await ask(acme, '/grants')).status, 200)
})

add('requests are bounded, tenant by tenant', async (endpoints) => {
  const [acme, bolt] = [endpoints.socket('acme'), endpoints.socket('bolt')]
  const pipelined = 'GET /grants HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3_000)
  const last = 'GET /grants HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  const answers = await raw(acme, pipelined + last)
  assert.match(answers, /429 too|429 Too/i)
  assert.is((await ask(bolt, '/grants')).status, 200)
})

test('bodies are paid for by their size', () => {
  const rate = new Rate()
  const taken = (bytes: number, nowMs: number): number => {
    for (let requests = 0; ; requests += 1)
      try {
        rate.take('acme', bytes, nowMs)
      } catch {
        return requests
      }
  }
  assert.is(taken(48 * 1024, 0), 250)
  assert.is(taken(0, 1_000), 500)
  // One that is larger than what is left is let in, and waited for afterwards.
  assert.is(taken(1_600 * 1024, 1_100), 1)
  assert.is(taken(0, 1_150), 0)
  assert.is(taken(0, 1_300), 49)
  rate.take('bolt', 0, 1_300)
})

add(
  'a body counts before it is read, and for the most where its size is not told',
  async (endpoints) => {
    const [acme, bolt] = [endpoints.socket('acme'), endpoints.socket('bolt')]
    const head = 'Host: x\r\nContent-Type: application/json\r\n'
    const chunked = `POST /mount HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n`
    const last = 'GET /grants HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    assert.match(await raw(acme, chunked.repeat(3_000) + last), /"code":"too-many-requests"/)
    const large = `POST /compute HTTP/1.1\r\n${head}Content-Length: 2500000\r\n\r\n{`
    let status = 200
    // What it owes is paid within three seconds.
    for (let round = 0; status !== 429 && round < 10; round += 1) {
      const open = Array.from({ length: 14 }, () => connect(bolt))
      for (const socket of open) socket.write(large)
      for (let tries = 0; status !== 429 && tries < 20; tries += 1)
        status = (await ask(bolt, '/grants')).status
      for (const socket of open) socket.destroy()
    }
    assert.is(status, 429)
  },
)

add('a computation has its place before its body is read', async (endpoints) => {
  const acme = endpoints.socket('acme')
  const head = 'POST /compute HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  const slow = Array.from({ length: 16 }, () => connect(acme))
  for (const socket of slow) socket.write(`${head}Content-Length: 100\r\n\r\n{`)
  const compute = () => ask(acme, '/compute', { body: { directory: '', program: 'x' } })
  const comesTo = async (status: number): Promise<void> => {
    for (let tries = 0; (await compute()).status !== status; tries += 1) {
      assert.ok(tries < 200, `it never came to ${status}`)
      await sleep(10)
    }
  }
  await comesTo(429)
  // A large body that is refused is not read: the connection ends without it.
  const refused = await raw(acme, `${head}Content-Length: 2000000\r\n\r\n{`)
  assert.match(refused, /^HTTP\/1\.1 429 [^]*\r\nconnection: close\r\n/i)
  assert.is((await ask(acme, '/grants')).status, 200)
  for (const socket of slow) socket.destroy()
  await comesTo(200)
})

test('a container is told by the outermost id in its cgroup: the engine of the host gave it', () => {
  const [one, other] = ['a'.repeat(64), 'b'.repeat(64)]
  assert.is(containerIn(`0::/machine.slice/libpod-${one}.scope/container\n`), one)
  assert.is(containerIn(`0::/system.slice/docker-${one}.scope/${other}\n`), one)
  assert.is(containerIn('0::/user.slice/session-1.scope\n'), undefined)
  assert.is(containerIn(`0::/${'a'.repeat(65)}\n`), undefined)
})

test.run()
