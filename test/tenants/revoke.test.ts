/**
 * What is granted is taken back while it is in use, by each of the ways there are, through the daemon and
 * the tenant's own API: who reads, writes or maps it meets an error at once, and nobody else anything.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { chmod, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount } from '../support/cli.ts'
import { consume, type Consumer } from '../support/consumers.ts'
import { holdsInput } from '../support/processes.ts'
import { type Served, ServeWorld, until } from '../support/serve-world.ts'
import { ask, askAs, type Answer } from '../support/unix-http.ts'

const UID = 70_000
const OTHER_UID = 80_000

function configuration(world: ServeWorld, policies: string): string {
  return `workers: 1
tenants: { acme: { ids: ${UID}-70999 } }
volumes:
  data: { path: ${world.scratch}/data }
  other: { path: ${world.scratch}/other }
policies:
  other: { tenants: ["*"], volumes: { names: [other] }, modes: [ro, rw], compute: true }
${policies}`
}

const DATA = '  data: { tenants: ["*"], volumes: { names: [data] }, modes: [rw], compute: true }\n'

interface Scene {
  readonly world: ServeWorld
  readonly served: Served
  readonly file: { readonly ino: number; readonly dev: number }
  /** From the grant until everybody was at it, the last time. */
  startMs: number
}

const test = suite<Scene>('revocation through the daemon')

function socket({ world }: Scene, tenant: string): string {
  return world.socket(tenant)
}

async function mount(scene: Scene, tenant: string, body: object): Promise<void> {
  const answer = await ask(socket(scene, tenant), '/mount', { body })
  assert.is(answer.status, 201, answer.text)
}

/** As the tenant: a program that reads the volume for as long as it can. */
async function startRun(
  scene: Scene,
  tenant: string,
  uid: number,
): Promise<{ readonly answer: Promise<Answer> }> {
  const program = `export default (dir) => {
    for (;;) for (const chunk of dir.file('file').chunks()) if (chunk.length === 0) return 1 }`
  const body = { directory: 'deep/data', program }
  const answer = askAs(uid, socket(scene, tenant), '/compute', { body })
  const over = answer.then(({ text }) => Promise.reject(new Error(`it ended: ${text}`)))
  await Promise.race([over, until(() => holdsInput(scene.served.child.pid ?? 0, scene.file))])
  over.catch(() => undefined)
  return { answer }
}

/** Grants `data`, has it used in all ways, has `revoke` take it away, and looks at what everybody met. */
async function takenBack(
  scene: Scene,
  {
    tenant,
    uid,
    ttl,
    unmounts = false,
  }: {
    readonly tenant: string
    readonly uid: number
    readonly ttl?: number
    readonly unmounts?: boolean
  },
  revoke: () => Promise<void>,
  programs: 'run' | 'none' = 'run',
): Promise<Consumer[]> {
  const { world } = scene
  const home = world.home(tenant)
  const made = await world.run('setpriv', [
    ...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--'],
    ...['sh', '-c', `mkdir -p ${home}/work && head -c 4096 /dev/zero >${home}/work/kept`],
  ])
  assert.is(made.code, 0, made.stderr)
  await mount(scene, tenant, { volume: 'other', at: 'other', mode: 'rw' })
  await mount(scene, tenant, { volume: 'data', at: 'deep/data', mode: 'rw', compute: true, ttl })
  const grantedAt = performance.now()
  const start = (what: Parameters<typeof consume>[0], cwd: string, at = 'deep/data') =>
    consume(what, { uid, cwd: path.join(home, cwd), granted: path.join(home, at) })
  const ended = await Promise.all([start('read', ''), start('write', ''), start('map', '')])
  const others = await Promise.all([start('bystander', 'work'), start('hold', '', 'other')])
  try {
    const run = programs === 'run' ? await startRun(scene, tenant, uid) : undefined
    scene.startMs = performance.now() - grantedAt
    await revoke()
    const ends = await Promise.all(ended.map(({ end }) => end))
    // Who gets no turn before the mount goes as well meets that.
    const met = ends.map((end) => (unmounts && end === 'ENOTCONN' ? 'ESTALE' : end))
    assert.equal(met, ['ESTALE', 'ESTALE', 'SIGBUS'])
    const answer = await run?.answer
    if (answer !== undefined) {
      assert.is(answer.status, 404, answer.text)
      assert.match(answer.text, /the tree was taken out of the mount/)
    }
  } finally {
    for (const { child } of ended) child.kill('SIGKILL')
  }
  return others
}

/** Who stood and worked elsewhere in the mount noticed nothing. */
async function undisturbed(scene: Scene, [bystander, elsewhere]: Consumer[]): Promise<void> {
  bystander?.child.stdin?.end()
  elsewhere?.child.stdin?.write('\n')
  assert.is(await bystander?.end, 'undisturbed')
  assert.is(await elsewhere?.end, 'kept')
  const listed = await scene.world.run('ls', [`${scene.world.home('acme')}/deep`])
  assert.is(listed.stdout + listed.stderr, '')
  const body = { at: 'other', force: true }
  assert.is((await ask(socket(scene, 'acme'), '/unmount', { body })).status, 200)
}

async function reload({ world, served }: Scene, text: string): Promise<void> {
  const times = (): number => served.log().split('read the configuration again').length
  const before = times()
  await world.configure(text)
  served.child.kill('SIGHUP')
  await until(() => times() > before)
}

async function audited(scene: Scene, action: string): Promise<string> {
  const { json } = await ask(
    path.join(scene.world.runtime, 'admin.sock'),
    `/audit?action=${action}`,
  )
  return JSON.stringify((json['entries'] as unknown[])[0])
}

test.before(async (scene) => {
  const world = await ServeWorld.create()
  for (const name of ['data', 'other']) {
    await chmod(await world.directory(name), 0o777)
    await writeFile(path.join(world.scratch, name, 'file'), Buffer.alloc(128 * 1024, 'kept'))
    await chmod(path.join(world.scratch, name, 'file'), 0o666)
  }
  await world.configure(configuration(world, DATA))
  const served = await world.serve()
  Object.assign(scene, { world, served, file: fs.statSync(`${world.scratch}/data/file`) })
})
test.after(async ({ world }) => {
  await world.close()
})

if (await canMount('tests of revocation')) {
  test('by its tenant, with force', async (scene) => {
    const others = await takenBack(scene, { tenant: 'acme', uid: UID }, async () => {
      const body = { at: 'deep/data' }
      const held = await ask(socket(scene, 'acme'), '/unmount', { body })
      assert.is(held.json['code'], 'busy')
      const gone = await ask(socket(scene, 'acme'), '/unmount', { body: { ...body, force: true } })
      assert.is(gone.status, 200, gone.text)
    })
    await undisturbed(scene, others)
    assert.match(await audited(scene, 'unmount'), /by force/)
  })

  test('by a change of policy', async (scene) => {
    const { world } = scene
    const others = await takenBack(scene, { tenant: 'acme', uid: UID }, async () => {
      await reload(scene, configuration(world, ''))
    })
    await undisturbed(scene, others)
    assert.match(await audited(scene, 'revoke'), /unknown-volume|no-policy/)
    await reload(scene, configuration(world, DATA))
  })

  test('by the removal of its tenant, which another does not notice', async (scene) => {
    const { world } = scene
    const admin = path.join(world.runtime, 'admin.sock')
    const body = { name: 'beta', ids: { first: OTHER_UID, count: 1 } }
    const added = await ask(admin, '/tenants', { body })
    assert.is(added.status, 201, added.text)
    const neighbour = await consume('bystander', {
      uid: UID,
      cwd: path.join(world.home('acme'), 'work'),
      granted: '',
    })
    const others = await takenBack(
      scene,
      { tenant: 'beta', uid: OTHER_UID, unmounts: true },
      async () => {
        const removed = await ask(admin, '/tenants/beta', { method: 'DELETE' })
        assert.is(removed.status, 200, removed.text)
      },
      'none',
    )
    for (const { child } of others) child.kill('SIGKILL')
    neighbour.child.stdin?.end()
    assert.is(await neighbour.end, 'undisturbed')
    assert.equal(await world.mounts(), [world.home('acme')])
    assert.match(await audited(scene, 'revoke'), /the tenant is removed/)
  })

  test('by its time', async (scene) => {
    // Long enough for all to be at it, however busy the machine is.
    const ttl = 1 + Math.ceil((2 * scene.startMs) / 1_000)
    const others = await takenBack(
      scene,
      { tenant: 'acme', uid: UID, ttl },
      () => Promise.resolve(),
      'none',
    )
    await undisturbed(scene, others)
    assert.match(await audited(scene, 'expire'), /its time was over/)
  })

  test('gracefully: it says who holds it, waits, and goes when nobody does', async (scene) => {
    const { world } = scene
    const acme = socket(scene, 'acme')
    await mount(scene, 'acme', { volume: 'data', at: 'held', mode: 'rw' })
    const home = world.home('acme')
    const holder = await consume('hold', { uid: UID, cwd: '/', granted: path.join(home, 'held') })
    const inContainer = await heldInNamespace(home)
    const { pid } = holder.child
    const body = { at: 'held', waitMs: 1 }
    const refused = await ask(acme, '/unmount', { body })
    assert.is(refused.status, 409)
    const holders = refused.json['holders'] as { pid: number; command: string; how: string }[]
    const found = holders.map((each) => `${each.pid} ${each.command} ${each.how}`)
    assert.equal(
      found.toSorted(),
      [`${pid} python3 open`, `${inContainer.pid} (not yours) open`].toSorted(),
    )
    assert.match(String(refused.json['detail']), new RegExp(`python3 \\(${pid}\\)`))

    const leaving = ask(acme, '/unmount', { body: { at: 'held', waitMs: 60_000 } })
    await sleep(100)
    assert.equal((await grantsOf(acme)).length, 1, 'it waits')
    inContainer.kill('SIGKILL')
    holder.child.stdin?.write('\n')
    assert.is(await holder.end, 'kept', 'and holds still')
    assert.is((await leaving).status, 200)
    assert.equal(await grantsOf(acme), [])
  })
}

async function grantsOf(acme: string): Promise<unknown[]> {
  return (await ask(acme, '/grants')).json['grants'] as unknown[]
}

/** Root's own process, to which the mount is at another place: a container's. */
async function heldInNamespace(home: string): Promise<ChildProcess> {
  const child = spawn(
    'unshare',
    [
      '-m',
      'sh',
      '-c',
      'mount --bind "$1" /mnt && exec 3</mnt/held/file && echo in && read _ && exit',
      'sh',
      home,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  await new Promise((resolve) => child.stdout?.once('data', resolve))
  return child
}

test.run()
