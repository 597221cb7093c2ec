/**
 * The daemon of many tenants is killed right before any of the calls by which it mounts, unmounts,
 * revokes, adds and removes; the next one finds a state that was promised. A few of these points in
 * short runs, each of them in long ones.
 */
import { access, chmod, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, exit } from '../support/cli.ts'
import { DyingCalls } from '../support/dying-calls.ts'
import { chooseSeed, long } from '../support/long.ts'
import { type Served, ServeWorld } from '../support/serve-world.ts'
import { ask, type Answer } from '../support/unix-http.ts'

const test = suite('the daemon of many tenants is killed')

interface Operation {
  readonly name: string
  /** About as many calls as it makes, for the choice of a point. */
  readonly calls: number
  prepare(scene: Scene): Promise<void>
  run(scene: Scene): Promise<Answer>
  /** Whether it is done; throws when it is something between. */
  done(scene: Scene): Promise<boolean>
}

class Scene {
  readonly world: ServeWorld
  readonly death: DyingCalls
  served: Served | undefined

  constructor(world: ServeWorld, death: DyingCalls) {
    this.world = world
    this.death = death
  }

  async start(): Promise<void> {
    this.served = await this.world.serve(this.death.env)
  }

  tenant(route: string, body?: object): Promise<Answer> {
    return ask(this.world.socket('acme'), route, { body })
  }

  admin(route: string, method = 'GET', body?: object): Promise<Answer> {
    return ask(path.join(this.world.runtime, 'admin.sock'), route, { method, body })
  }

  async grant(at: string): Promise<{ readonly id: string; readonly state: string } | undefined> {
    const { json } = await this.tenant('/grants')
    const grants = json['grants'] as { id: string; state: string; at: string }[]
    return grants.find((each) => each.at === at)
  }

  /** Both say the same: the list, and who looks. */
  async isGranted(at: string): Promise<boolean> {
    const grant = await this.grant(at)
    const { stdout } = await this.world.run('ls', [path.join(this.world.home('acme'), at)])
    assert.is(stdout, grant === undefined ? '' : 'file\n', `${at} as it is listed`)
    if (grant !== undefined) assert.is(grant.state, 'active')
    return grant !== undefined
  }

  /** A tenant has all that belongs to it, or nothing. */
  async isServed(name: string): Promise<boolean> {
    const { json } = await this.admin('/tenants')
    const tenants = json['tenants'] as { name: string; state: string }[]
    const state = tenants.find((each) => each.name === name)?.state
    const places = [
      (await this.world.mounts()).includes(this.world.home(name)),
      await exists(this.world.home(name)),
      await exists(path.join(this.world.runtime, 'tenants', name)),
      await exists(path.join(this.world.runtime, 'serving', `${name}.json`)),
    ]
    assert.equal(places, places.fill(state !== undefined), `the places of ${name}`)
    if (state === undefined) return false
    assert.is(state, 'serving')
    const socket = this.world.socket(name)
    assert.is((await ask(socket, '/grants')).status, 200)
    return true
  }

  async ensureGranted(at: string, volume: string): Promise<void> {
    if ((await this.grant(at)) !== undefined) return
    const answer = await this.tenant('/mount', { volume, at, mode: 'rw' })
    assert.is(answer.status, 201, answer.text)
  }

  async ensureNotGranted(at: string): Promise<void> {
    assert.is((await this.tenant('/unmount', { at, force: true })).status, 200)
  }

  async ensureTenant(name: string): Promise<void> {
    if (await this.isServed(name)) return
    const answer = await this.admin('/tenants', 'POST', tenantNamed(name))
    assert.is(answer.status, 201, answer.text)
  }

  async ensureNoTenant(name: string): Promise<void> {
    if (!(await this.isServed(name))) return
    assert.is((await this.admin(`/tenants/${name}?purge=true`, 'DELETE')).status, 200)
  }
}

function tenantNamed(name: string): object {
  return { name, ids: { first: 80_000, count: 10 } }
}

async function exists(place: string): Promise<boolean> {
  return await access(place).then(
    () => true,
    () => false,
  )
}

const OPERATIONS: readonly Operation[] = [
  {
    name: 'mount',
    calls: 25,
    prepare: (scene) => scene.ensureNotGranted('deep/new'),
    run: (scene) => scene.tenant('/mount', { volume: 'data', at: 'deep/new', mode: 'rw' }),
    done: (scene) => scene.isGranted('deep/new'),
  },
  {
    name: 'unmount',
    calls: 25,
    prepare: (scene) => scene.ensureGranted('old', 'old'),
    run: (scene) => scene.tenant('/unmount', { at: 'old' }),
    done: async (scene) => !(await scene.isGranted('old')),
  },
  {
    name: 'revoke, with what is nested in it',
    calls: 35,
    prepare: async (scene) => {
      await scene.ensureGranted('outer', 'outer')
      await scene.ensureGranted('outer/inner', 'inner')
    },
    run: async (scene) => {
      const grant = await scene.grant('outer')
      return await scene.admin(`/grants/${grant?.id}`, 'DELETE')
    },
    done: async (scene) => {
      const { stdout } = await scene.world.run('ls', [path.join(scene.world.home('acme'), 'outer')])
      const inner = await scene.grant('outer/inner')
      const outer = await scene.grant('outer')
      assert.is(outer?.state, inner?.state, 'both or none')
      assert.is(stdout, outer === undefined ? '' : 'file\ninner\n')
      return outer === undefined
    },
  },
  {
    name: 'tenant add',
    calls: 90,
    prepare: (scene) => scene.ensureNoTenant('beta'),
    run: (scene) => scene.admin('/tenants', 'POST', tenantNamed('beta')),
    done: (scene) => scene.isServed('beta'),
  },
  {
    name: 'tenant remove',
    calls: 90,
    prepare: async (scene) => {
      await scene.ensureTenant('beta')
      const socket = scene.world.socket('beta')
      const body = { volume: 'data', at: 'granted', mode: 'rw' }
      const answer = await ask(socket, '/mount', { body })
      assert.ok([201, 409].includes(answer.status), answer.text)
    },
    run: (scene) => scene.admin('/tenants/beta?purge=true', 'DELETE'),
    done: async (scene) => {
      const served = await scene.isServed('beta')
      const { json } = await scene.admin('/grants?tenant=beta')
      assert.is((json['grants'] as unknown[]).length, served ? 1 : 0, 'grants of beta')
      assert.is(await exists(path.join(scene.world.state, 'tenants/beta')), served)
      return !served
    },
  },
]

/** Kills it at that call, starts it again, and looks. False: the operation makes no such call. */
async function killedAt(scene: Scene, operation: Operation, at: number): Promise<boolean> {
  const { world, death } = scene
  const what = `${operation.name}, killed before call ${at}`
  await operation.prepare(scene)
  death.arm(at)
  const answer = await operation.run(scene).catch(() => undefined)
  const reached = death.disarm() >= at
  // It died as it was to, or did more than it was asked for.
  if (scene.served !== undefined)
    await (reached ? exit(scene.served.child) : world.kill(scene.served, 'SIGKILL'))
  const intents = intentsIn(path.join(world.state, 'broker.db'))
  await scene.start()
  const done = await operation.done(scene)
  if (answer !== undefined) {
    assert.ok(answer.status < 300, `${what}: ${answer.text}`)
    assert.ok(done, `${what}: it was promised`)
  }
  // What was granted before is there; nothing else is.
  assert.ok(await scene.isGranted('kept'), what)
  const tenants = (await scene.isServed('beta')) ? ['acme', 'beta'] : ['acme']
  assert.equal(
    await world.mounts(),
    tenants.map((name) => world.home(name)),
    what,
  )
  assert.equal((await readdir(path.join(world.runtime, 'tenants'))).toSorted(), tenants, what)
  assert.equal(intentsIn(path.join(world.state, 'broker.db')), [], what)
  for (const id of intents) {
    const { json } = await scene.admin('/audit?action=revoke')
    const entries = json['entries'] as { subject: string; reason: string }[]
    const entry = entries.find(({ subject }) => subject === id)
    assert.match(
      entry?.reason ?? '',
      /never completed|to be revoked|tenant/,
      `${what}: it is audited`,
    )
  }
  if (intents.length > 0)
    assert.match(scene.served?.log() ?? '', /dropped the grant|removing a tenant/, what)
  return reached
}

/** Ids of grants that are neither given nor gone. */
function intentsIn(file: string): string[] {
  const database = new DatabaseSync(file)
  try {
    const rows = database.prepare("SELECT id FROM grants WHERE state <> 'active'").all()
    return rows.map((row) => String(row['id']))
  } finally {
    database.close()
  }
}

async function withScene(body: (scene: Scene) => Promise<void>): Promise<void> {
  using death = new DyingCalls()
  const world = await ServeWorld.create()
  try {
    for (const name of ['data', 'old', 'outer', 'inner', 'kept']) {
      await chmod(await world.directory(name), 0o777)
      await writeFile(path.join(world.scratch, name, 'file'), '')
    }
    await world.configure(`workers: 1
tenants: { acme: { ids: 70000-70999 } }
volumes:
  data: { path: ${world.scratch}/data }
  old: { path: ${world.scratch}/old }
  outer: { path: ${world.scratch}/outer }
  inner: { path: ${world.scratch}/inner }
  kept: { path: ${world.scratch}/kept }
policies:
  all: { tenants: ["*"], volumes: { names: ["*"] }, modes: [ro, rw] }
`)
    const scene = new Scene(world, death)
    await scene.start()
    await scene.ensureGranted('kept', 'kept')
    await body(scene)
  } finally {
    await world.close()
  }
}

if (await canMount('tests of a killed daemon')) {
  if (long)
    for (const operation of OPERATIONS)
      test(operation.name, () =>
        withScene(async (scene) => {
          for (let at = 1; await killedAt(scene, operation, at); at += 1);
        }),
      )
  else
    test('at a few of all points', async () => {
      let seed = chooseSeed()
      const random = (below: number): number => {
        seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff
        return (seed >>> 8) % below
      }
      await withScene(async (scene) => {
        for (const operation of OPERATIONS)
          await killedAt(scene, operation, 1 + random(operation.calls))
      })
    })
}
test.run()
