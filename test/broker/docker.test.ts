/**
 * Docker itself, with containerd and runc: volumes of the plugin, a tenant's mount and endpoint in a container, and
 * volumes put before one that runs.
 */
import { chown, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { exit } from '../support/cli.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { canRunDocker, Docker } from '../support/docker.ts'
import { type Served, ServeWorld, until } from '../support/serve-world.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('Docker')
const able = process.getuid?.() === 0 && (await canRunDocker('containers of Docker'))

const OWNER = 100_000
/** Docker finds plugins in one folder of the machine; another's daemon may be there. */
const DRIVER = `insitu-test-${process.pid}`

let served: ServeWorld
let daemon: Served
let docker: Docker | undefined

test.before(async () => {
  served = await ServeWorld.create()
  if (!able) return
  const [data, more, work] = await Promise.all(
    ['data', 'more', 'work'].map((name) => served.directory(name)),
  )
  for (const each of [data, more]) await writeFile(path.join(each ?? '', 'file'), 'granted\n')
  await chown(work ?? '', OWNER, OWNER)
  await served.configure(`plugin: { socket: /run/docker/plugins/${DRIVER}.sock, tenant: acme }
tenants: { acme: { ids: 100000-165535 } }
volumes:
  data: { path: ${data} }
  more: { path: ${more} }
  work: { path: ${work} }
  secret: { path: ${await served.directory('secret')} }
policies:
  all: { tenants: [acme], volumes: { names: [data, more, work] }, modes: [ro, rw], compute: true }
`)
  process.env['INSITU_RUNTIME_DIR'] = served.runtime
  daemon = await served.serve()
  docker = await Docker.create(['/usr/bin/curl'])
  // `insitu volume mount --container` asks the Docker of the path.
  Object.assign(process.env, docker.env)
})
test.after(async () => {
  await docker?.close()
  await served.close()
})

async function grants(): Promise<string[]> {
  const { json } = await ask(path.join(served.runtime, 'admin.sock'), '/grants')
  return (json['grants'] as { at: string; mode: string }[])
    .map(({ at, mode }) => `${at} ${mode}`)
    .toSorted()
}

function withDocker(name: string, body: (docker: Docker) => Promise<void>): void {
  if (able) test(name, async () => docker && (await body(docker)))
}

withDocker('volumes: made, counted by container, there after a crash, removed', async (docker) => {
  const done = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await docker.docker(args)
    assert.is(code, 0, `docker ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  const create = ['volume', 'create', '--driver', DRIVER]
  await done(...create, '-o', 'mode=rw', '-o', 'volume=data', 'plain')
  await done(...create, 'more')
  const refused = await docker.docker([...create, 'secret'])
  assert.ok(refused.code !== 0 && /no policy|no volume/.test(refused.stderr), refused.stderr)
  assert.equal(await grants(), [])

  const first = docker.shell(['-v', 'plain:/w'])
  const shell = new ConsumerShell(first)
  assert.is(await shell.ask('cat /w/file'), 'granted')
  const second = docker.shell(['-v', 'plain:/w', '-v', 'more:/r'])
  const other = new ConsumerShell(second)
  assert.is(
    await other.ask('echo written > /w/new; cat /w/new /r/file; echo x > /r/x'),
    "written\ngranted\nsh: can't create /r/x: Read-only file system",
  )
  assert.is(await shell.ask('cat /w/new'), 'written')
  const counted = async (name: string): Promise<number> => {
    const [volume] = JSON.parse(await done('volume', 'inspect', name)) as {
      Status: { mounts: string[] }
    }[]
    return volume?.Status.mounts.length ?? NaN
  }
  assert.equal([await counted('plain'), await counted('more')], [2, 1])

  await served.kill(daemon, 'SIGKILL')
  assert.match(await shell.ask('cat /w/file'), /not connected/)
  daemon = await served.serve()
  assert.equal(await grants(), ['volumes/more ro', 'volumes/plain rw'])
  assert.is(await shell.ask('echo after >/w/after; cat /w/after'), 'after')
  assert.is(await other.ask('cat /w/after /r/file'), 'after\ngranted')
  second.stdin?.end()
  await exit(second)
  await until(async () => (await grants()).join() === 'volumes/plain rw')
  assert.equal([await counted('plain'), await counted('more')], [1, 0])
  const third = await docker.run(['-v', 'plain:/w', '-v', 'more:/r:ro'], 'cat /w/new /r/file')
  assert.is(third.stdout, 'written\ngranted\n', third.stderr)
  first.stdin?.end()
  await exit(first)
  await until(async () => (await grants()).length === 0)
  await done('volume', 'rm', 'plain', 'more')
  assert.is(await done('volume', 'ls', '--quiet', '--filter', `driver=${DRIVER}`), '')
})

withDocker('a tenant: asks from within, and has it in the container that runs', async (docker) => {
  const mounts = [
    `${served.home('acme')}:/data`,
    `${path.dirname(served.socket('acme'))}:/run/insitu:ro`,
  ]
  const child = docker.shell([
    ...['--user', `${OWNER}:${OWNER}`, '--cap-drop', 'ALL'],
    ...mounts.flatMap((each) => ['-v', each]),
  ])
  await using shell = new ConsumerShell(child)
  const request = (what: string, body: string): string =>
    `curl -sS --unix-socket /run/insitu/api.sock http://insitu/${what} --json '${body}'`
  assert.is(await shell.ask('cd /data; pwd'), '/data')
  assert.match(
    await shell.ask(request('mount', '{"volume":"secret","at":"secret"}')),
    /unknown-volume/,
  )
  assert.match(
    await shell.ask(
      request('mount', '{"volume":"work","at":"shared/work","mode":"rw","compute":true}'),
    ),
    /"state":"active"/,
  )
  assert.is(await shell.ask('echo one >shared/work/one; cat shared/work/one'), 'one')
  const program = 'export default (dir) => [...dir.files()].map((f) => f.name + f.text()).join("")'
  await shell.ask(`echo '${program}' >shared/work/.compute`)
  assert.is(await shell.ask('cat shared/work/.results/result'), 'oneone')
  assert.is(await readFile(path.join(served.scratch, 'work/one'), 'utf8'), 'one\n')
  const { json } = await ask(path.join(served.runtime, 'admin.sock'), '/audit?action=mount')
  const [entry] = json['entries'] as { uid: number; container?: string }[]
  const { stdout } = await docker.docker(['ps', '--quiet', '--no-trunc'])
  assert.equal([entry?.uid, entry?.container], [OWNER, stdout.trim()])
  // The daemon is stopped and started, as for an upgrade, and both directories are what they were.
  await served.kill(daemon, 'SIGTERM')
  daemon = await served.serve()
  assert.is(await shell.ask('cat /data/shared/work/one'), 'one')
  await shell.ask('cd /')
  assert.match(
    await shell.ask(request('unmount', '{"at":"shared/work","force":true}')),
    /unmounted/,
  )
  assert.match(await shell.ask('cat /data/shared/work/one'), /No such file/)
})

withDocker(
  'a container that runs: put in, read, computed over, taken out, ended',
  async (docker) => {
    const child = docker.shell(['--name=web', `--user=${OWNER}:${OWNER}`])
    await using shell = new ConsumerShell(child)
    const to = ['--tenant', 'acme', '--container', 'web', '--target', '/volume']
    const done = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await served.insitu(args)
      assert.is(code, 0, `${args.join(' ')}: ${stderr}`)
    }
    assert.match(await shell.ask('ls /volume'), /No such file/)
    await done('volume', 'mount', 'work', '--mode', 'rw', '--compute', ...to)
    assert.is(await shell.ask('echo two >/volume/two; cat /volume/two'), 'two')
    await shell.ask('echo \'export default (dir) => dir.file("two").text()\' >/volume/.compute')
    assert.is(await shell.ask('cat /volume/.results/result'), 'two')
    await served.kill(daemon, 'SIGKILL')
    assert.match(await shell.ask('ls /volume'), /not connected/)
    daemon = await served.serve()
    assert.is(await shell.ask('cat /volume/two'), 'two')
    await done('volume', 'unmount', ...to)
    assert.is(await shell.ask('ls /volume'), '')
    await done('volume', 'mount', 'data', ...to)
    assert.is(
      await shell.ask('cat /volume/file; echo x >/volume/x'),
      "granted\nsh: can't create /volume/x: Read-only file system",
    )
    assert.is((await grants()).length, 1)
    await docker.docker(['rm', '--force', 'web'])
    await until(async () => (await grants()).length === 0)
  },
)

if (!able) test('needs Docker', () => undefined)

test.run()
