/** The volume plugin's protocol over its socket: counting by mount id, over restarts, and refusals. */
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { toWanted } from '../../src/broker/plugin/options.ts'
import { Connection } from '../../src/broker/store/connection.ts'
import { MIGRATIONS } from '../../src/broker/store/migrations.ts'
import { PluginVolumesTable } from '../../src/broker/store/plugin-volumes.ts'
import { policyNamed, refusal } from '../support/broker-world.ts'
import { ACME, Endpoints } from '../support/endpoints.ts'
import { ask, askAs } from '../support/unix-http.ts'

const test = suite('the volume plugin')

class Engine {
  readonly endpoints: Endpoints

  constructor(endpoints: Endpoints) {
    this.endpoints = endpoints
  }

  get socket(): string {
    return path.join(this.endpoints.scratch, 'plugins', 'insitu.sock')
  }

  static async create(...policies: Parameters<typeof Endpoints.create>): Promise<Engine> {
    const engine = new Engine(await Endpoints.create(...policies))
    await engine.serve()
    return engine
  }

  serve(): Promise<void> {
    return this.endpoints.broker.servePlugin({ socket: this.socket, tenant: 'acme' })
  }

  /** As the daemon was killed: nothing is given back. */
  async restart(policies = [policyNamed('all')]): Promise<void> {
    await this.endpoints.stop()
    await this.endpoints.start(policies)
    await this.serve()
  }

  async call(name: string, body: unknown = {}): Promise<Record<string, unknown>> {
    const headers = { 'content-type': 'application/vnd.docker.plugins.v1.1+json' }
    const { status, json } = await ask(this.socket, `/${name}`, { body, headers })
    // An engine takes any other status for a failure, and reads Err.
    assert.is(status, json['Err'] === undefined || json['Err'] === '' ? 200 : 500)
    return json
  }

  create(name: string, options: Readonly<Record<string, string>> = { volume: 'data' }) {
    return this.call('VolumeDriver.Create', { Name: name, Opts: options })
  }

  mount(name: string, id: string) {
    return this.call('VolumeDriver.Mount', { Name: name, ID: id })
  }

  unmount(name: string, id: string) {
    return this.call('VolumeDriver.Unmount', { Name: name, ID: id })
  }

  get grants(): string[] {
    return this.endpoints.mount('acme').paths
  }

  async audit(): Promise<string[]> {
    const { json } = await ask(this.endpoints.admin, '/audit')
    const entries = json['entries'] as { action: string; outcome: string; subject?: string }[]
    return entries.map(({ action, outcome, subject }) => `${action} ${outcome} ${subject}`)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.endpoints[Symbol.asyncDispose]()
  }
}

const AT = '/nowhere/tenant/volumes/v'

test('who it is, and what it can', async () => {
  await using engine = await Engine.create()
  // As Docker does it: no body at all.
  const hello = await ask(engine.socket, '/Plugin.Activate', { method: 'POST' })
  assert.equal(hello.json, { Implements: ['VolumeDriver'] })
  assert.equal(await engine.call('VolumeDriver.Capabilities'), {
    Capabilities: { Scope: 'local' },
  })
  assert.equal(await engine.call('VolumeDriver.List'), { Volumes: [], Err: '' })
  assert.match(String((await engine.call('VolumeDriver.Get', { Name: 'v' }))['Err']), 'no volume')
})

test('the first mount grants, the last unmount gives back, an id counts once', async () => {
  await using engine = await Engine.create()
  await engine.create('v')
  assert.equal(engine.grants, [], 'nothing is mounted yet')
  assert.equal(await engine.mount('v', 'one'), { Mountpoint: AT, Err: '' })
  assert.equal(await engine.mount('v', 'one'), { Mountpoint: AT, Err: '' })
  assert.equal(await engine.mount('v', 'two'), { Mountpoint: AT, Err: '' })
  assert.equal(engine.grants, ['volumes/v'])
  assert.equal(await engine.call('VolumeDriver.Path', { Name: 'v' }), { Mountpoint: AT, Err: '' })
  const refused = await engine.call('VolumeDriver.Remove', { Name: 'v' })
  assert.match(String(refused['Err']), 'mounted, 2 times')
  await engine.unmount('v', 'never')
  await engine.unmount('v', 'one')
  await engine.unmount('v', 'one')
  assert.equal(engine.grants, ['volumes/v'], 'the other one still has it')
  await engine.unmount('v', 'two')
  assert.equal(engine.grants, [])
  assert.equal(await engine.call('VolumeDriver.Path', { Name: 'v' }), { Mountpoint: '', Err: '' })
  assert.equal(await engine.call('VolumeDriver.Remove', { Name: 'v' }), { Err: '' })
  assert.equal(await engine.unmount('v', 'one'), { Err: '' })
  const audit = await engine.audit()
  assert.is(audit.at(0), 'plugin-remove done v')
  assert.is(audit.at(-1), 'plugin-create done v')
})

test('many at once make one grant', async () => {
  await using engine = await Engine.create()
  await engine.create('v')
  const ids = Array.from({ length: 50 }, (_, at) => `id-${at}`)
  const mounted = await Promise.all(ids.map((id) => engine.mount('v', id)))
  assert.ok(mounted.every((each) => each['Mountpoint'] === AT))
  assert.is(engine.endpoints.mount('acme').calls.length, 1)
  await Promise.all([...ids.slice(1), ...ids.slice(1)].map((id) => engine.unmount('v', id)))
  assert.equal(engine.grants, ['volumes/v'])
  await engine.unmount('v', 'id-0')
  assert.equal(engine.grants, [])
})

test('counts and grants are there again after a restart', async () => {
  await using engine = await Engine.create()
  await engine.create('v')
  await engine.mount('v', 'one')
  await engine.mount('v', 'two')
  await engine.restart()
  assert.equal(engine.grants, ['volumes/v'])
  assert.equal(await engine.mount('v', 'two'), { Mountpoint: AT, Err: '' })
  await engine.unmount('v', 'one')
  assert.equal(engine.grants, ['volumes/v'])
  await engine.unmount('v', 'two')
  assert.equal(engine.grants, [])
})

test('a grant that nobody counts goes at the start: a crash came between', async () => {
  await using engine = await Engine.create()
  await engine.create('v')
  await engine.mount('v', 'one')
  const file = path.join(engine.endpoints.scratch, 'state', 'broker.db')
  const beside = new Connection(file, MIGRATIONS)
  beside.run('DELETE FROM plugin_mounts')
  beside.close()
  await engine.restart()
  assert.equal(engine.grants, [])
})

test('another boot has mounted nothing yet', async () => {
  await using engine = await Engine.create()
  const file = path.join(engine.endpoints.scratch, 'other.db')
  const connection = new Connection(file, MIGRATIONS)
  new PluginVolumesTable(connection, 'before').addMount('v', 'one')
  assert.equal(new PluginVolumesTable(connection, 'before').mounts('v'), ['one'])
  assert.equal(new PluginVolumesTable(connection, 'after').mounts('v'), [])
  connection.close()
})

test('policy decides when it is made and when it is mounted, and the audit has it', async () => {
  const only = policyNamed('only', { volumes: { names: ['data'], labels: {} }, modes: ['ro'] })
  await using engine = await Engine.create([only])
  const errors = async (options: Record<string, string>): Promise<string> =>
    String((await engine.create('v', options))['Err'])
  assert.match(await errors({ volume: 'secret' }), 'no volume "secret"')
  assert.match(await errors({ volume: 'data', mode: 'rw' }), 'rw')
  assert.match(await errors({ volume: 'data', tenant: 'nobody' }), 'not served')
  assert.is((await engine.audit()).filter((each) => each.includes('create refused')).length, 2)
  assert.is(await errors({ volume: 'data' }), '')
  await engine.restart([policyNamed('none', { tenants: ['bolt'] })])
  assert.ok((await engine.mount('v', 'one'))['Err'])
  assert.equal(engine.grants, [])
  assert.match((await engine.audit())[0] ?? '', 'mount refused data')
})

test('a grant that was revoked under it is made again by the next mount', async () => {
  await using engine = await Engine.create()
  await engine.create('v')
  await engine.mount('v', 'one')
  const { json } = await ask(engine.endpoints.admin, '/grants')
  const [grant] = json['grants'] as { id: string }[]
  await ask(engine.endpoints.admin, `/grants/${grant?.id}`, { method: 'DELETE' })
  assert.equal(engine.grants, [])
  assert.equal(await engine.call('VolumeDriver.Path', { Name: 'v' }), { Mountpoint: '', Err: '' })
  await engine.mount('v', 'two')
  assert.equal(engine.grants, ['volumes/v'])
})

test('a mount that fails counts nothing; what is open goes with the last unmount', async () => {
  await using engine = await Engine.create()
  await engine.create('v')
  engine.endpoints.mount('acme').fail('EIO')
  assert.match(String((await engine.mount('v', 'one'))['Err']), 'cannot be reached')
  assert.equal(await engine.call('VolumeDriver.Remove', { Name: 'v' }), { Err: '' })
  await engine.create('v')
  await engine.mount('v', 'one')
  const graft = engine.endpoints.mount('acme').at('volumes/v')
  if (graft !== undefined) graft.openHandles = 1
  assert.equal(await engine.unmount('v', 'one'), { Err: '' })
  assert.equal(engine.grants, [])
})

test('made twice, described, named after a volume', async () => {
  await using engine = await Engine.create()
  assert.equal(await engine.create('v'), { Err: '' })
  assert.equal(await engine.create('v'), { Err: '' })
  assert.match(String((await engine.create('v', { volume: 'logs' }))['Err']), 'other options')
  const there = await engine.create('w', { volume: 'logs', at: 'volumes/v' })
  assert.match(String(there['Err']), 'where "v" stands')
  assert.equal(await engine.create('described', { 'label.kind': 'logs', mode: 'rw' }), { Err: '' })
  assert.equal(await engine.call('VolumeDriver.Create', { Name: 'data', Opts: null }), { Err: '' })
  const { Volumes } = await engine.call('VolumeDriver.List')
  assert.equal(
    (Volumes as { Name: string; Status: { volume: string; mode: string } }[]).map(
      ({ Name, Status }) => `${Name} ${Status.volume} ${Status.mode}`,
    ),
    ['data data ro', 'described logs rw', 'v data ro'],
  )
})

test('options that are none', async () => {
  const bad: Readonly<Record<string, string>>[] = [
    { volume: '../x' },
    { volume: 'data', class: 'fast' },
    { mode: 'wr' },
    { compute: 'yes' },
    { quota: 'much' },
    { subpath: '../..' },
    { subpath: '/etc' },
    { at: '' },
    { at: 'a/../../b' },
    { at: '.compute' },
    { tenant: '../bolt' },
    { device: '/dev/sda' },
    { 'label.': 'x' },
    { 'at\0': 'x' },
    { at: 'x\ny' },
    { at: 'x'.repeat(5_000) },
    Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`label.${at}`, 'x'])),
  ]
  for (const options of bad) {
    const code = await refusal(
      (async () => toWanted('v', options, 'acme'))(), // a rejection, as the others have it
    )
    assert.ok(['bad-request', 'bad-path'].includes(code), `${JSON.stringify(options)}: ${code}`)
  }
  assert.is(await refusal((async () => toWanted('v', {}, undefined))()), 'bad-request')
})

test('only root may speak to it, and nonsense is answered', async () => {
  await using engine = await Engine.create()
  const outsider = await askAs(ACME, engine.socket, '/VolumeDriver.List', { body: {} })
  assert.is(outsider.status, 0)
  assert.is(outsider.text, 'EACCES')
  for (const body of [[], 'x', { Name: '../x' }, { Name: 3 }, { Opts: { a: 1 } }, { Name: '' }])
    assert.ok((await engine.call('VolumeDriver.Create', body))['Err'], JSON.stringify(body))
  assert.ok((await engine.call('VolumeDriver.Mount', { Name: 'v' }))['Err'])
  assert.is((await ask(engine.socket, '/Nothing', { body: {} })).status, 404)
  const large = await ask(engine.socket, '/VolumeDriver.Create', { body: 'x'.repeat(100_000) })
  assert.match(String(large.json['Err']), 'too large')
})

test.run()
