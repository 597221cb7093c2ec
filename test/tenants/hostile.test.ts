/** What one tenant does to the daemon that serves the others, and to what the daemon alone may reach. */
import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, exit, type Finished } from '../support/cli.ts'
import { type Served, ServeWorld, until } from '../support/serve-world.ts'
import { ask, askAs, asksAs } from '../support/unix-http.ts'

const [ACME, BOLT] = [70_000, 80_000]

interface Scene {
  readonly world: ServeWorld
  readonly served: Served
}

const test = suite<Scene>('a hostile tenant')

function socket({ world }: Scene, tenant: string): string {
  return world.socket(tenant)
}

function shell({ world }: Scene, uid: number, script: string): Promise<Finished> {
  return world.shellAs(uid, script)
}

test.before(async (scene) => {
  const world = await ServeWorld.create()
  await chmod(await world.directory('data'), 0o755)
  await writeFile(path.join(world.scratch, 'data/file'), 'x')
  // A volume in a directory of the tenant's, and something of root's that only modes above it close.
  for (const name of ['yard', 'yard/volume']) await chown(await world.directory(name), ACME, ACME)
  await chmod(await world.directory('vault'), 0o700)
  await mkdir(path.join(world.scratch, 'vault/open'), { mode: 0o755 })
  await writeFile(path.join(world.scratch, 'vault/open/secret'), 'of root\n')
  await world.configure(`workers: 1
tenants:
  acme: { ids: ${ACME}-70999 }
  bolt: { ids: ${BOLT}-80999 }
volumes:
  data: { path: ${world.scratch}/data }
  yard: { path: ${world.scratch}/yard/volume }
policies:
  all: { tenants: ["*"], volumes: { names: ["*"] }, modes: [ro, rw], compute: true }
`)
  Object.assign(scene, { world, served: await world.serve() })
})
test.after(async ({ world }) => {
  await world.close()
})

if (await canMount('tests of a hostile tenant')) {
  test('runs nothing in a directory that its caller could not come to by that path', async (scene) => {
    const [acme, home] = [socket(scene, 'acme'), scene.world.home('acme')]
    const other = ACME + 5
    const made = await shell(
      scene,
      ACME,
      `cd ${home} && chmod 755 . && mkdir -m 755 open && mkdir -m 700 closed && mkdir -m 755 closed/in &&
       echo hidden > closed/in/file && ln -s closed/in link`,
    )
    assert.is(made.code, 0, made.stderr)
    assert.is((await ask(acme, '/mount', { body: { ...DATA, at: 'closed/data' } })).status, 201)
    const program = "emit('r', dir.files().map((each) => each.name).join())"
    const asked = (directory: string) => ['/compute', { body: { directory, program } }] as const
    const places = ['closed/in', 'link', 'closed/data', 'closed/none', 'closed/data/none']
    const refused = await asksAs(other, acme, places.map(asked))
    // Neither what is in it nor whether it is there.
    assert.equal(
      refused.map(({ status, json }) => [status, json['code']]),
      places.map(() => [403, 'forbidden']),
    )
    const own = await asksAs(ACME, acme, ['closed/in', 'link', 'closed/data'].map(asked))
    assert.equal(
      own.map(({ text }) => text),
      ['file', 'file', 'file'],
    )
    assert.is((await askAs(other, acme, ...asked('open'))).status, 200)
    assert.is((await ask(acme, '/unmount', { body: { at: 'closed/data' } })).status, 200)
  })

  test('leads a volume nowhere by a link in its own directory', async (scene) => {
    const { scratch } = scene.world
    const swapped = await shell(
      scene,
      ACME,
      `cd ${scratch}/yard && mv volume was && ln -s ${scratch}/vault/open volume`,
    )
    assert.is(swapped.code, 0, swapped.stderr)
    const yard = { body: { volume: 'yard', at: 'yard', mode: 'rw' } }
    const { json } = await askAs(ACME, socket(scene, 'acme'), '/mount', yard)
    assert.is(json['code'], 'backing-unavailable')
    const admin = path.join(scene.world.runtime, 'admin.sock')
    const taken = await ask(admin, '/volumes/yard/snapshots', { body: { name: 'taken' } })
    assert.ok(taken.status >= 400, taken.text)
    assert.not.ok(fs.existsSync(path.join(scene.world.state, 'snapshots/taken')))
    await shell(scene, ACME, `cd ${scratch}/yard && rm volume && mv was volume`)
    assert.is((await askAs(ACME, socket(scene, 'acme'), '/mount', yard)).status, 201)
  })

  test('leads the removal of its endpoint nowhere', async (scene) => {
    const admin = path.join(scene.world.runtime, 'admin.sock')
    const body = { name: 'cidr', ids: { first: 90_000, count: 1_000 } }
    assert.is((await ask(admin, '/tenants', { body })).status, 201)
    // As root of a container that shares the directory could.
    const endpoint = path.dirname(socket(scene, 'cidr'))
    fs.rmSync(path.join(endpoint, 'api.sock'))
    fs.symlinkSync(
      path.join(scene.world.scratch, 'vault/open/secret'),
      path.join(endpoint, 'api.sock'),
    )
    fs.mkdirSync(path.join(endpoint, 'other'))
    fs.symlinkSync(path.join(scene.world.scratch, 'vault/open'), path.join(endpoint, 'other/link'))
    assert.is((await ask(admin, '/tenants/cidr', { method: 'DELETE' })).status, 200)
    assert.ok(fs.existsSync(path.join(scene.world.scratch, 'vault/open/secret')))
    assert.equal(fs.readdirSync(path.join(endpoint, 'other')), ['link'])
  })

  test('waits for no more unmounts than one may, whoever else asks', async (scene) => {
    const acme = socket(scene, 'acme')
    assert.is((await ask(acme, '/mount', { body: { ...DATA, at: 'held' } })).status, 201)
    const holder = spawn(
      'sh',
      [
        '-c',
        'exec 3< "$1"; echo ready; exec sleep 60',
        'sh',
        `${scene.world.home('acme')}/held/file`,
      ],
      {
        uid: ACME,
        gid: ACME,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    await said(holder)
    const statuses: number[] = []
    const body = { at: 'held', waitMs: 60_000 }
    const asked = Array.from({ length: 100 }, async () => {
      const { status } = await ask(acme, '/unmount', { body })
      statuses.push(status)
    })
    try {
      await until(() => statuses.length >= 36)
      assert.equal(
        statuses,
        Array.from({ length: 36 }, () => 429),
      )
      assert.is((await ask(socket(scene, 'bolt'), '/grants')).status, 200)
    } finally {
      holder.kill('SIGKILL')
      await exit(holder)
    }
    await Promise.all(asked)
    assert.equal(
      statuses.slice(36),
      Array.from({ length: 64 }, () => 200),
    )
  })
}

const DATA = { volume: 'data', compute: true } as const

async function said({ stdout }: ChildProcess): Promise<void> {
  await new Promise((resolve) => stdout?.once('data', resolve))
}

test.run()
