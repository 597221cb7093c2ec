/** HTTPS with mutual TLS, with real clients: who a certificate is, and whom it is not. */
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { connect as connectPlain } from 'node:net'
import path from 'node:path'
import { connect } from 'node:tls'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { InsituClient, ProblemError } from '../../src/broker/client.ts'
import { HTTP_BOUNDS } from '../../src/broker/http/bounds.ts'
import { Authority, fingerprintOf } from '../../src/broker/tls/authority.ts'
import { Connection } from '../../src/broker/store/connection.ts'
import { MIGRATIONS } from '../../src/broker/store/migrations.ts'
import { CertificatesTable } from '../../src/broker/store/certificates.ts'
import { INSITU } from '../support/cli.ts'
import { policyNamed } from '../support/broker-world.ts'
import { ACME, Endpoints } from '../support/endpoints.ts'
import { ask, type Answer } from '../support/unix-http.ts'

const test = suite('HTTPS')

interface Credentials {
  readonly certificate: string
  readonly key: string
  readonly authority: string
}
type Issued = Credentials & { readonly fingerprint: string }

class Secured {
  readonly endpoints: Endpoints
  port = 0

  constructor(endpoints: Endpoints) {
    this.endpoints = endpoints
  }

  static async create(): Promise<Secured> {
    const secured = new Secured(await Endpoints.create())
    await secured.serve()
    return secured
  }

  async serve(): Promise<void> {
    this.port = await this.endpoints.broker.serveHttps({ listen: ['127.0.0.1', 0], names: [] })
  }

  async issue(tenant: string, body: object = {}): Promise<Issued> {
    const { json, status } = await ask(this.endpoints.admin, `/tenants/${tenant}/certificates`, {
      body,
    })
    assert.is(status, 201)
    return json as unknown as Issued
  }

  client({ certificate: cert, key, authority: ca }: Credentials): InsituClient {
    return new InsituClient({ url: `https://127.0.0.1:${this.port}`, cert, key, ca })
  }

  get(given: Partial<Credentials> & { authority: string }, servername = ''): Promise<Answer> {
    const { certificate: cert, key, authority: ca } = given
    return new Promise((resolve, reject) => {
      const credentials = cert === undefined || key === undefined ? {} : { cert, key }
      const call = httpsRequest(
        {
          ...credentials,
          ca,
          host: '127.0.0.1',
          port: this.port,
          path: '/grants',
          agent: false,
          ...(servername === '' ? {} : { servername }),
        },
        (response) => {
          let text = ''
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
          response.once('end', () => {
            const { statusCode: status = 0, headers } = response
            const json = JSON.parse(text) as Record<string, unknown>
            resolve({ status, headers, text, json })
          })
        },
      )
      call.once('error', reject)
      call.end()
    })
  }

  async refusals(): Promise<string[]> {
    const { json } = await ask(this.endpoints.admin, '/audit?action=connect')
    const entries = json['entries'] as { tenant?: string; subject?: string; reason: string }[]
    return entries.map(({ tenant, reason }) => `${tenant}: ${reason}`)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.endpoints[Symbol.asyncDispose]()
  }
}

async function refused(answer: Promise<Answer>): Promise<string> {
  const { status, json } = await answer
  assert.is(status, 403)
  assert.is(json['code'], 'forbidden')
  return String(json['detail'])
}

test('each certificate is its tenant, who asks, mounts and computes with it', async () => {
  await using secured = await Secured.create()
  const [acme, bolt] = [await secured.issue('acme'), await secured.issue('bolt')]
  const client = secured.client(acme)
  const grant = await client.mount({ volume: 'data', at: 'a' })
  assert.is(grant.tenant, 'acme')
  assert.equal(secured.endpoints.mount('acme').paths, ['a'])
  assert.is((await client.grants()).length, 1)
  assert.is((await secured.client(bolt).grants()).length, 0)
  // A certificate is no process: it is the tenant, and so its first id.
  const computed = await client.compute({ directory: '', program: 'x' })
  assert.is(String((await computed?.stream.toArray())?.[0]), `${ACME} ran x`)
  const no = await client.mount({ volume: 'none', at: 'b' }).catch((error: unknown) => error)
  assert.ok(no instanceof ProblemError && no.code === 'unknown-volume')
  assert.is((await secured.get(acme, 'acme.localhost')).status, 200)
  assert.is((await secured.get(acme, 'localhost')).status, 200)
})

test('no certificate, another authority’s, a stranger’s of ours, a self-signed one', async () => {
  await using secured = await Secured.create()
  const acme = await secured.issue('acme')
  const { authority } = acme
  assert.match(await refused(secured.get({ authority })), 'no client certificate')

  const elsewhere = path.join(secured.endpoints.scratch, 'elsewhere')
  mkdirSync(elsewhere)
  const forged = (await Authority.open(elsewhere)).client('acme', 60_000)
  assert.match(await refused(secured.get({ ...forged, authority })), 'not of our authority')
  // Also where it is known by its fingerprint, as by a broken database.
  const file = path.join(secured.endpoints.scratch, 'state', 'broker.db')
  const beside = new Connection(file, MIGRATIONS)
  new CertificatesTable(beside).insert({ ...forged, tenant: 'acme', revokedAtMs: undefined })
  assert.match(await refused(secured.get({ ...forged, authority })), 'not of our authority')

  // Of our own authority, but never given out: a key that leaked does not do by itself.
  const ours = await Authority.open(path.join(secured.endpoints.scratch, 'state'))
  const unknown = ours.client('acme', 60_000)
  assert.match(await refused(secured.get({ ...unknown, authority })), 'not known')
  // A server's certificate is no client's, and neither is the authority's.
  const server = ours.server(['localhost'])
  assert.match(await refused(secured.get({ ...server, authority })), 'not of our authority')

  const expired = ours.client('acme', 60_000, Date.now() - 120_000)
  new CertificatesTable(beside).insert({ ...expired, tenant: 'acme', revokedAtMs: undefined })
  assert.match(await refused(secured.get({ ...expired, authority })), 'expired')
  beside.close()
  assert.is((await secured.refusals()).length, 6)
  assert.equal(secured.endpoints.mount('acme').calls, [])
})

test('another tenant’s certificate at a tenant’s name', async () => {
  await using secured = await Secured.create()
  const bolt = await secured.issue('bolt')
  assert.match(await refused(secured.get(bolt, 'acme.localhost')), "another tenant's")
  assert.equal(await secured.refusals(), ["acme: this name is another tenant's"])
  // A name that is nobody's gets no certificate of its own.
  const error = await secured.get(bolt, 'nobody.localhost').catch((cause: unknown) => cause)
  assert.is((error as NodeJS.ErrnoException).code, 'ERR_TLS_CERT_ALTNAME_INVALID')
})

test('revoked: refused from then on, and thrown out where it was let in', async () => {
  await using secured = await Secured.create()
  const [one, other] = [await secured.issue('acme'), await secured.issue('acme')]
  const ended = (async () => {
    for await (const _ of secured.client(one).events()) continue
  })()
  while (!/listeners 1/.test((await ask(secured.endpoints.admin, '/metrics')).text)) continue
  const at = `/tenants/acme/certificates/${one.fingerprint}`
  const answer = await ask(secured.endpoints.admin, at, { method: 'DELETE' })
  assert.equal(answer.json, { revoked: true })
  const error = await ended.catch((cause: unknown) => cause)
  assert.is((error as NodeJS.ErrnoException | undefined)?.code, 'ECONNRESET')
  assert.match(await refused(secured.get(one)), 'revoked')
  assert.equal((await ask(secured.endpoints.admin, at, { method: 'DELETE' })).json, {
    revoked: false,
  })
  assert.is((await secured.get(other)).status, 200, 'the other one is as good as before')
  const others = `/tenants/bolt/certificates/${other.fingerprint}`
  assert.equal((await ask(secured.endpoints.admin, others, { method: 'DELETE' })).json, {
    revoked: false,
  })
})

test('after a restart the same ones hold; those of a tenant that is gone do not', async () => {
  await using secured = await Secured.create()
  const [acme, bolt] = [await secured.issue('acme'), await secured.issue('bolt')]
  await secured.endpoints.stop()
  await secured.endpoints.start([policyNamed('all')])
  await secured.serve()
  assert.is((await secured.get(acme)).status, 200)
  assert.is((await secured.get(bolt)).status, 200)
  const bolts = secured.endpoints.tenants.get('bolt')
  assert.ok(bolts)
  await secured.endpoints.broker.removeTenant('bolt', { forget: true })
  assert.match(await refused(secured.get(bolt)), 'not known')
  await secured.endpoints.add(bolts)
  assert.match(await refused(secured.get(bolt)), 'not known')
})

test('an older TLS is none, and who says nothing holds up nobody', async () => {
  await using secured = await Secured.create()
  const acme = await secured.issue('acme')
  const { certificate: cert, key, authority: ca } = acme
  const code = await new Promise((resolve) => {
    const socket = connect({ port: secured.port, ca, cert, key, maxVersion: 'TLSv1.2' })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
    socket.once('secureConnect', () => resolve(socket.getProtocol()))
  })
  assert.is(code, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
  const silent = Array.from({ length: 50 }, () => connectPlain({ port: secured.port }))
  const plain = connectPlain({ port: secured.port }, () => plain.write('GET / HTTP/1.1\r\n\r\n'))
  for (const each of [...silent, plain]) each.on('error', () => undefined)
  assert.is((await secured.get(acme)).status, 200)
  for (const each of [...silent, plain]) each.destroy()
})

test('handshakes that never end take no place from others', async () => {
  await using secured = await Secured.create()
  const acme = await secured.issue('acme')
  // As many as there may be connections, and always new ones.
  const silent = Array.from({ length: HTTP_BOUNDS.httpsConnections + 100 }, () => {
    const socket = connectPlain({ port: secured.port })
    return socket.on('error', () => undefined)
  })
  await Promise.all(silent.map((socket) => once(socket, 'connect')))
  try {
    for (let n = 0; n < 5; n += 1) assert.is((await secured.get(acme)).status, 200)
  } finally {
    for (const each of silent) each.destroy()
  }
})

test('certificates are what openssl takes for such, and the key of the authority is root’s', async () => {
  await using secured = await Secured.create()
  const acme = await secured.issue('acme', { ttl: 3_600 })
  const file = path.join(secured.endpoints.scratch, 'state', 'tls', 'authority.pem')
  assert.is(statSync(file).mode & 0o777, 0o600)
  assert.is(statSync(path.dirname(file)).mode & 0o777, 0o700)
  const parsed = new X509Certificate(acme.certificate)
  assert.is(fingerprintOf(parsed), acme.fingerprint)
  const hour = Date.parse(parsed.validTo) - Date.now()
  assert.ok(hour > 3_500_000 && hour <= 3_600_000)
  const folder = secured.endpoints.scratch
  writeFileSync(path.join(folder, 'ca.crt'), acme.authority)
  writeFileSync(path.join(folder, 'acme.crt'), acme.certificate)
  const verify = ['verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile']
  const { code, output } = await finished('openssl', [...verify, 'ca.crt', 'acme.crt'], folder)
  if (code === 'ENOENT') console.log('SKIP openssl verify: there is no openssl')
  else assert.is(output, 'acme.crt: OK\n')
})

test('insitu tenant cert, and curl with what it made', async () => {
  await using secured = await Secured.create()
  const { scratch } = secured.endpoints
  const out = path.join(scratch, 'out')
  const cert = (...args: string[]) => finished(INSITU, ['tenant', 'cert', 'acme', ...args], scratch)
  assert.match((await cert('--out', out, '--ttl', '1h')).output, 'are good until')
  assert.is(statSync(path.join(out, 'acme.key')).mode & 0o777, 0o600)
  assert.match((await cert('--out', out)).output, 'is there already')
  const files = ['--cacert', 'authority.crt', '--cert', 'acme.crt', '--key', 'acme.key']
  const url = `https://acme.localhost:${secured.port}/grants`
  const { output } = await finished('curl', ['--silent', '--show-error', ...files, url], out)
  assert.is(output, '{"grants":[]}')
  const [listed] = JSON.parse((await cert('--list', '--json')).output) as { fingerprint: string }[]
  const own = new X509Certificate(readFileSync(path.join(out, 'acme.crt')))
  assert.is(listed?.fingerprint, fingerprintOf(own))
  assert.match((await cert('--revoke', own.fingerprint256)).output, 'refused from now on')
  assert.match((await finished('curl', ['--silent', ...files, url], out)).output, 'was revoked')
})

async function finished(command: string, args: readonly string[], cwd: string) {
  const env = { ...process.env, INSITU_RUNTIME_DIR: path.dirname(adminOf(cwd)) }
  return await new Promise<{ code: unknown; output: string }>((resolve) => {
    execFile(command, args, { cwd, env, timeout: 30_000 }, (error, stdout, stderr) =>
      resolve({ code: error?.code, output: stdout + stderr }),
    )
  })
}

/** `out` is a folder of the world's. */
function adminOf(cwd: string): string {
  const [, scratch = ''] = /^(\/tmp\/insitu-api-[^/]+)/.exec(cwd) ?? []
  return path.join(scratch, 'run', 'admin.sock')
}

test.run()
