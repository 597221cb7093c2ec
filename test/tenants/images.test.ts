/** Volumes that are images behind grants of a real daemon: full, read-only, gone, killed. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, type Finished } from '../support/cli.ts'
import { DiskImage } from '../support/disk-image.ts'
import { command, haveLoopDevices, loopFiles, unmountBelow } from '../support/loop-devices.ts'
import { ServeWorld, until } from '../support/serve-world.ts'
import { ask, type Answer } from '../support/unix-http.ts'

const test = suite<{ world: ServeWorld }>('images behind grants')

test.before.each(async (context) => {
  context.world = await ServeWorld.create()
})
test.after.each(async ({ world }) => {
  unmountBelow(world.scratch)
  await world.close()
})

const FILE = `
tenants:
  acme: { ids: 70000-70999 }
  beta: { ids: 71000-71999 }
volumes:
  bounded: { kind: image, size: 32M, owner: 70000 }
policies:
  all: { tenants: ["*"], volumes: { names: ["*"] }, modes: [ro, rw] }
`

class Consumer {
  readonly #world: ServeWorld
  readonly #tenant: string

  constructor(world: ServeWorld, tenant: string) {
    this.#world = world
    this.#tenant = tenant
  }

  /** As the tenant's first id, in its mount. */
  async sh(script: string): Promise<Finished> {
    const id = this.#tenant === 'acme' ? '70000' : '71000'
    const words = [
      `--reuid=${id}`,
      `--regid=${id}`,
      '--clear-groups',
      'sh',
      '-c',
      'cd "$1" && eval "$2"',
    ]
    return await this.#world.run('setpriv', [
      ...words,
      'sh',
      this.#world.home(this.#tenant),
      script,
    ])
  }

  /** 201, or the problem. */
  async mount(volume: string, at: string, mode: 'ro' | 'rw' = 'rw'): Promise<Answer> {
    const socket = this.#world.socket(this.#tenant)
    return await ask(socket, '/mount', { body: { volume, at, mode } })
  }
}

const done = ({ code, stderr }: Finished): void => assert.is(code, 0, stderr)
const mounted = ({ status, text }: Answer): void => assert.is(status, 201, text)
const fails = ({ code, stderr }: Finished, why: RegExp): void => {
  assert.is.not(code, 0)
  assert.match(stderr, why)
}

if (haveLoopDevices('mkfs.ext4') && (await canMount('images behind grants'))) {
  test('full, read-only, taken away: each is told, and nobody else is concerned', async ({
    world,
  }) => {
    await world.configure(FILE)
    const served = await world.serve()
    const acme = new Consumer(world, 'acme')
    const beta = new Consumer(world, 'beta')
    const point = path.join(world.runtime, 'volumes/bounded')
    const others = async (): Promise<void> => done(await beta.sh('echo x > own && cat own'))
    mounted(await acme.mount('bounded', 'data'))

    fails(await acme.sh('head -c 64M /dev/zero > data/fill'), /No space left/)
    const { stdout, stderr } = await acme.sh(
      'df --output=avail data | tail -1; stat -c %s data/fill',
    )
    assert.match(stdout, /^\s*\d\n2\d{7}\n$/, `${stdout}${stderr}`)
    await others()
    done(await acme.sh('rm data/fill && echo again > data/file'))

    // What was open for writing is released after its close.
    await until(() => spawnSync('mount', ['-o', 'remount,ro', point]).status === 0)
    fails(await acme.sh('echo x > data/file'), /Read-only file system/)
    done(await acme.sh('grep again data/file'))
    await others()
    const admin = path.join(world.runtime, 'admin.sock')
    await until(async () => (await ask(admin, '/volumes')).text.includes('"readOnly":true'))
    assert.is((await beta.mount('bounded', 'late')).json['code'], 'unhealthy')
    const listed = await world.insitu(['volume', 'list'])
    assert.match(listed.stdout, /bounded +image .* read-only/)
    command('mount', '-o', 'remount,rw', point)

    // Who has it keeps it; a new one gets the same filesystem, mounted again.
    command('umount', '--lazy', point)
    done(await acme.sh('echo more >> data/file'))
    await others()
    await until(() => existsSync(path.join(point, 'data/file')))
    await until(async () => (await beta.mount('bounded', 'later')).status === 201)
    assert.is((await beta.sh('cat later/file')).stdout, 'again\nmore\n')
    assert.equal(loopFiles(world.scratch), [path.join(world.state, 'images/bounded.image')])

    assert.is(await world.kill(served, 'SIGTERM'), 0)
    assert.equal(await world.mounts(), [])
    assert.equal(loopFiles(world.scratch), [])
  })

  test('made, snapshot and removed by command, across a kill', async ({ world }) => {
    using disk = DiskImage.create('xfs', 300 * 1024 * 1024)
    if (disk !== undefined) {
      for (const name of ['plain', 'copies']) mkdirSync(path.join(disk.folder, name))
      command('chown', '70000', path.join(disk.folder, 'plain'))
    }
    await world.configure(
      FILE.replace('volumes:', `volumes:\n  plain: { path: ${disk?.folder ?? '/nowhere'}/plain }`),
    )
    const served = await world.serve()
    const acme = new Consumer(world, 'acme')
    const words = ['--kind', 'image', '--size', '16M', '--owner', '70000', '--label', 'a=b']
    done(await world.insitu(['volume', 'create', 'made', ...words]))
    mounted(await acme.mount('made', 'made'))
    done(await acme.sh('echo before > made/file'))
    const taken = await world.insitu(['volume', 'snapshot', 'made', 'then'])
    assert.match(taken.stdout, /^then: .*writers held for \d+ ms/, taken.stderr)
    done(await acme.sh('echo after > made/file'))
    mounted(await acme.mount('then', 'then', 'ro'))
    assert.is((await acme.sh('cat made/file then/file')).stdout, 'after\nbefore\n')
    assert.match((await acme.mount('then', 'other')).text, /cannot be mounted rw/)
    fails(await acme.sh('rm then/file'), /Read-only file system/)

    // A directory whose writers come through a grant: they wait until it is copied.
    const admin = path.join(world.runtime, 'admin.sock')
    if (disk !== undefined) {
      mounted(await acme.mount('plain', 'plain'))
      const writing = acme.sh(
        'for i in $(seq 400); do echo $i > plain/file; echo $i > plain/other; done',
      )
      await until(() => existsSync(path.join(disk.folder, 'plain/other')))
      const body = { name: 'copy', into: path.join(disk.folder, 'copies') }
      const copied = await ask(admin, '/volumes/plain/snapshots', { body })
      assert.match(copied.text, /files and directories.*writers held for/)
      const [file, other] = ['file', 'other'].map((name) =>
        Number(readFileSync(path.join(disk.folder, 'copies/copy', name), 'utf8')),
      )
      assert.ok(file === other || other === 0 || (file ?? 0) - (other ?? 0) === 1 || file === 0)
      done(await writing)
    }
    await until(async () => /"measuredP99Us":[1-9]/.test((await ask(admin, '/volumes')).text))
    const explained = await world.insitu(['volume', 'list', '--explain', '--tenant', 'acme'])
    assert.match(explained.stdout, /made +\d.*[0-9] µs/, explained.stdout)

    await world.kill(served, 'SIGKILL')
    const again = await world.serve()
    assert.is((await acme.sh('cat made/file then/file')).stdout, 'after\nbefore\n')
    const remove = (name: string): Promise<Answer> =>
      ask(admin, `/volumes/${name}?purge=true`, { method: 'DELETE' })
    assert.match((await remove('made')).text, /1 grants/)
    for (const name of ['made', 'then']) {
      await ask(admin, `/volumes/${name}/drain`, { body: { force: true } })
      assert.is((await remove(name)).status, 200)
    }
    assert.equal(loopFiles(world.scratch), [path.join(world.state, 'images/bounded.image')])
    const audit = await ask(admin, '/audit')
    for (const action of ['volume-put', 'volume-snapshot', 'volume-remove'])
      assert.ok(audit.text.includes(`"${action}"`), action)
    assert.is(await world.kill(again, 'SIGTERM'), 0)
    assert.equal(await world.mounts(), [])
    assert.equal(loopFiles(world.scratch), [])
  })
}

test.run()
