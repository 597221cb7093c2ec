/**
 * Two tenants and a third user of one machine, with the daemon, mounts and sockets as they really are:
 * whatever one tries against another, it gets nothing and learns nothing. And programs by request.
 */
import * as fs from 'node:fs'
import { chmod, chown, mkdir, readdir, symlink, writeFile } from 'node:fs/promises'
import { Agent, request as httpRequest } from 'node:http'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, type Finished } from '../support/cli.ts'
import { askFromReusedPid } from '../support/pid-reuse.ts'
import { holdsInput } from '../support/processes.ts'
import { type Served, ServeWorld, until } from '../support/serve-world.ts'
import { ask, askAs, asksAs, type Answer, type Asked } from '../support/unix-http.ts'

const [ACME, BOLT, OTHER] = [70_000, 80_000, 65_000]

interface Scene {
  readonly world: ServeWorld
  readonly served: Served
}

const test = suite<Scene>('tenants against each other')

function socket({ world }: Scene, tenant: string): string {
  return world.socket(tenant)
}

function home({ world }: Scene, tenant: string): string {
  return path.join(world.state, 'tenants', tenant, 'home')
}

/** In the mounts, as that user. */
function shell({ world }: Scene, uid: number, script: string): Promise<Finished> {
  return world.shellAs(uid, script)
}

/** No place of the host and nothing of the other tenant is in it. */
function tellsNothing({ world }: Scene, { text }: Answer): void {
  for (const secret of [world.scratch, world.state, 'bolt', 'private', 'hidden'])
    assert.not.ok(text.includes(secret), `${secret} in ${text}`)
}

test.before(async (scene) => {
  const world = await ServeWorld.create()
  for (const name of ['data', 'private', 'twin']) {
    await chmod(await world.directory(name), 0o755)
    await writeFile(path.join(world.scratch, name, 'hidden.txt'), `of ${name}\n`)
  }
  await mkdir(path.join(world.scratch, 'data/sub'), { mode: 0o755 })
  await symlink(path.join(world.scratch, 'private'), path.join(world.scratch, 'data/link'))
  await symlink('../private', path.join(world.scratch, 'data/sub/up'))
  // The same tree by another way.
  const bound = await world.run('mount', [
    '--bind',
    `${world.scratch}/data`,
    `${world.scratch}/twin`,
  ])
  assert.is(bound.code, 0, bound.stderr)
  await world.configure(`workers: 1
tenants:
  acme: { ids: ${ACME}-70999 }
  bolt: { ids: ${BOLT}-80999 }
volumes:
  data: { path: ${world.scratch}/data }
  twin: { path: ${world.scratch}/twin }
  private: { path: ${world.scratch}/private }
policies:
  acme: { tenants: [acme], volumes: { names: [data, twin] }, modes: [ro], compute: true, maxGrants: 2000 }
  bolt: { tenants: [bolt], volumes: { names: [private] }, modes: [ro, rw], compute: true }
`)
  Object.assign(scene, { world, served: await world.serve() })
  assert.is((await ask(socket(scene, 'bolt'), '/mount', { body: PRIVATE })).status, 201)
  await writeFile(path.join(home(scene, 'bolt'), 'secret'), 'of bolt\n', { mode: 0o644 })
})
const PRIVATE = { volume: 'private', at: 'private', mode: 'ro' }
test.after(async ({ world }) => {
  await world.close()
})

if (await canMount('tests of tenants against each other')) {
  test('of another’s endpoint nobody gets more than a word', async (scene) => {
    const everything: (readonly [string, Asked])[] = [
      ['/volumes', {}],
      ['/grants', {}],
      ['/events', {}],
      ['/openapi.json', {}],
      ['/mount', { body: { volume: 'private', at: 'x' } }],
      ['/unmount', { body: { at: 'private', force: true } }],
      ['/compute', { body: { directory: '', program: 'emit("a", 1)' } }],
    ]
    for (const uid of [ACME, OTHER])
      for (const answer of await asksAs(uid, socket(scene, 'bolt'), everything)) {
        assert.is(answer.status, 403)
        assert.not.match(answer.text, /private|secret|hidden/)
      }
    for (const uid of [ACME, BOLT, OTHER]) {
      const admin = await askAs(uid, path.join(scene.world.runtime, 'admin.sock'), '/tenants')
      assert.equal([admin.status, admin.text], [0, 'EACCES'])
    }
    const { json } = await ask(socket(scene, 'bolt'), '/grants')
    assert.is((json['grants'] as unknown[]).length, 1)
  })

  test('no path and no link leads out of what is one’s own', async (scene) => {
    await shell(scene, ACME, `ln -s ${scene.world.home('bolt')} ${scene.world.home('acme')}/other`)
    await shell(scene, ACME, `ln -s / ${scene.world.home('acme')}/root`)
    const [acme, long] = [socket(scene, 'acme'), 'n'.repeat(255)]
    const paths = [
      ...[
        '..',
        '../bolt/x',
        '/etc',
        'a/../../b',
        'a//b',
        './a',
        'a/',
        '',
        '.compute',
        'a/.results/b',
      ],
      ...['a\nb', 'a\u0000b', '\ud800', `${long}n`, 'é'.repeat(128), 'x/'.repeat(65) + 'x'],
      ...['other/x', 'root/tmp/x', 'other', 'root/etc'],
    ]
    const mounts = paths.map((at) => ['/mount', { body: { volume: 'data', at } }] as const)
    const subpaths = [
      '..',
      '/etc',
      'sub/../..',
      'link',
      'link/x',
      'sub/up',
      'hidden.txt',
      'a\nb',
      'nothing',
    ]
    const below = subpaths.map(
      (subpath) => ['/mount', { body: { volume: 'data', at: 'x', subpath } }] as const,
    )
    const runs = [...paths, 'other', 'root'].map(
      (directory) => ['/compute', { body: { directory, program: 'emit("a", 1)' } }] as const,
    )
    const answers = await asksAs(ACME, acme, [
      ...mounts,
      ...below,
      ...runs.filter(([, { body }]) => body.directory !== ''),
    ])
    for (const answer of answers) {
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.text}`)
      assert.match(String(answer.headers['content-type']), /problem\+json/)
      if (!/"at"|other/.test(answer.text)) tellsNothing(scene, answer)
      assert.not.ok(answer.text.includes(scene.world.scratch), answer.text)
    }
    assert.equal(await readdir(home(scene, 'bolt')), ['private', 'secret'])
    // One of full length is as good as any.
    const [full] = await asksAs(ACME, acme, [['/mount', { body: { volume: 'data', at: long } }]])
    assert.is(full?.status, 201, full?.text)
    // The same tree twice, by whatever way, is refused: one could not tell what is whose.
    const twin = await askAs(ACME, acme, '/mount', { body: { volume: 'twin', at: 'twin' } })
    assert.is(twin.json['code'], 'overlap')
    tellsNothing(scene, twin)
    assert.is((await ask(acme, '/unmount', { body: { at: long, force: true } })).status, 200)
  })

  test('what another may have is as if it were not', async (scene) => {
    const names = ['private', 'nosuchvolume']
    const [hidden, nothing] = await asksAs(ACME, socket(scene, 'acme'), [
      ...names.map((volume) => ['/mount', { body: { volume, at: 'x' } }] as const),
    ])
    assert.is(hidden?.text.replaceAll('private', 'nosuchvolume'), nothing?.text)
    const [chosen, volumes] = await asksAs(ACME, socket(scene, 'acme'), [
      ['/mount', { body: { select: {}, at: 'x', dryRun: true } }],
      ['/volumes', {}],
    ])
    for (const answer of [chosen, volumes]) assert.not.match(answer?.text ?? 'private', /private/)
  })

  test('programs read what their caller may, and only in its own tree', async (scene) => {
    const program = `export default (dir) => {
      const seen = []
      for (const name of ['other/secret', '../bolt/secret', '/etc/passwd', 'root/etc/passwd'])
        try { seen.push(dir.file(name).text()) } catch (error) { seen.push('no') }
      return JSON.stringify(seen) }`
    const body = { directory: '', program }
    const answer = await askAs(ACME, socket(scene, 'acme'), '/compute', { body })
    assert.is(answer.text, '["no","no","no","no"]')
  })

  test('a directory that becomes a link in the middle of it all leads nowhere', async (scene) => {
    const at = scene.world.home('acme')
    const swapping = shell(
      scene,
      ACME,
      `cd ${at} && n=0 && while [ $n -lt 150 ]; do n=$((n+1)); mkdir -p way 2>/dev/null
       mv -T way gone$n 2>/dev/null && ln -s ../bolt way && rm -f way; done`,
    )
    for (let n = 0; n < 40; n += 1) {
      const { status } = await ask(socket(scene, 'acme'), '/mount', {
        body: { volume: 'data', at: 'way/in' },
      })
      if (status === 201)
        await ask(socket(scene, 'acme'), '/unmount', { body: { at: 'way/in', force: true } })
    }
    await swapping
    assert.equal(await readdir(home(scene, 'bolt')), ['private', 'secret'])
    assert.equal(await readdir(path.join(scene.world.runtime, 'homes')), ['acme', 'bolt'])
  })

  test('who has the pid of a caller that is dead is not taken for it', async (scene) => {
    const { pid, answer } = await askFromReusedPid(
      scene.served.child.pid ?? 0,
      socket(scene, 'bolt'),
      OTHER,
    )
    assert.ok(pid > 1, answer)
    assert.match(answer, /HTTP\/1.1 403/)
    const audit = await ask(path.join(scene.world.runtime, 'admin.sock'), '/audit?action=connect')
    const entries = audit.json['entries'] as { pid: number; uid: number; subject?: string }[]
    assert.not.ok(JSON.stringify(entries).includes('victim'), JSON.stringify(entries))
  })

  test('of a thousand that want one path at a time one has it', async (scene) => {
    const acme = socket(scene, 'acme')
    const agent = new Agent({ maxSockets: 64, keepAlive: true })
    const counts = new Map<string, number>()
    const once = async (): Promise<void> => {
      const said = await post(acme, agent, { volume: 'data', at: 'wanted' })
      if (said === 'too-many-requests') return await once()
      counts.set(said, (counts.get(said) ?? 0) + 1)
    }
    await Promise.all(Array.from({ length: 1_000 }, once))
    agent.destroy()
    assert.equal(Object.fromEntries(counts), { granted: 1, 'at-taken': 999 })
    const listed = await scene.world.run('ls', [path.join(scene.world.home('acme'), 'wanted')])
    assert.is(listed.stdout, 'hidden.txt\nlink\nsub\n')
    assert.is((await ask(acme, '/unmount', { body: { at: 'wanted' } })).status, 200)
  })

  test('the answer to a program is its result: type, tag, and nothing when nothing is new', async (scene) => {
    const acme = socket(scene, 'acme')
    const grant = { volume: 'data', at: 'in/data', compute: true }
    assert.is((await ask(acme, '/mount', { body: grant })).status, 201)
    const program = "emit('told.json', { said: dir.file('hidden.txt').text(), ...params })"
    const body = { directory: 'in/data', program, params: { n: 1 } }
    const first = await askAs(ACME, acme, '/compute', { body })
    assert.is(first.status, 200, first.text)
    assert.equal(first.json, { said: 'of data\n', n: 1 })
    assert.is(first.headers['content-type'], 'application/json')
    assert.is(first.headers['x-content-type-options'], 'nosniff')
    assert.is(first.headers['insitu-result'], 'told.json')
    const etag = String(first.headers['etag'])
    const [same, other] = await asksAs(ACME, acme, [
      ['/compute', { body, headers: { 'if-none-match': etag } }],
      ['/compute', { body: { ...body, params: { n: 2 } }, headers: { 'if-none-match': etag } }],
    ])
    assert.equal([same?.status, same?.text, same?.headers['etag']], [304, '', etag])
    assert.is(other?.json['n'], 2)
    const failed = await askAs(ACME, acme, '/compute', {
      body: { ...body, program: '\nthrow new Error("no")' },
    })
    assert.is(failed.status, 422)
    assert.equal([failed.json['code'], failed.json['line']], ['program-failed', 2])
    // Where programs were not granted none runs.
    assert.is((await ask(acme, '/unmount', { body: { at: 'in/data' } })).status, 200)
    assert.is((await ask(acme, '/mount', { body: { ...grant, compute: false } })).status, 201)
    assert.is((await askAs(ACME, acme, '/compute', { body })).json['code'], 'no-compute')
    assert.is((await ask(acme, '/unmount', { body: { at: 'in/data' } })).status, 200)
  })

  test('a program whose caller hangs up ends', async (scene) => {
    const file = path.join(home(scene, 'acme'), 'input')
    await writeFile(file, Buffer.alloc(256 * 1024))
    await chown(file, ACME, ACME)
    const input = fs.statSync(file)
    const program = "for (;;) for (const chunk of dir.file('input').chunks()) if (!chunk) break"
    const text = JSON.stringify({ directory: '', program })
    const headers = { 'content-type': 'application/json', 'content-length': text.length }
    const call = httpRequest({
      socketPath: socket(scene, 'acme'),
      path: '/compute',
      method: 'POST',
      headers,
    })
    call.on('error', () => undefined)
    call.end(text)
    const pid = scene.served.child.pid ?? 0
    await until(() => holdsInput(pid, input))
    call.destroy()
    // It opens it again and again: once is chance.
    let without = 0
    await until(() => (without = holdsInput(pid, input) ? 0 : without + 1) >= 20)
    assert.equal(await readdir(path.join(scene.world.state, 'tenants/acme/scratch')), [])
  })
}

async function post(socketPath: string, agent: Agent, body: object): Promise<string> {
  const text = JSON.stringify(body)
  const headers = { 'content-type': 'application/json', 'content-length': text.length }
  return await new Promise((resolve, reject) => {
    const call = httpRequest(
      { socketPath, path: '/mount', method: 'POST', agent, headers },
      (answer) => {
        let said = ''
        answer.on('data', (chunk: Buffer) => (said += chunk.toString()))
        answer.once('end', () => {
          const { code } = JSON.parse(said) as { code?: string }
          resolve(answer.statusCode === 201 ? 'granted' : (code ?? String(answer.statusCode)))
        })
      },
    )
    call.once('error', reject)
    call.end(text)
  })
}

test.run()
