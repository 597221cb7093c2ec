/**
 * A volume on a network filesystem, here sshfs over the loopback: granted, read, written, computed over, taken
 * back; and its server hangs, goes away and comes again while others work.
 */
import { access, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { spawn, type ChildProcess } from 'node:child_process'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, exit } from '../support/cli.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { ServeWorld, until } from '../support/serve-world.ts'
import { SftpServer } from '../support/sftp-server.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('volumes on a network filesystem')
const OWNER = 100_000

async function canReachFiles(): Promise<boolean> {
  if (!(await canMount('volumes on a network filesystem')) || process.getuid?.() !== 0) return false
  const programs = ['/usr/bin/sshfs', '/usr/lib/openssh/sftp-server']
  const missing = await Promise.all(
    programs.map((file) =>
      access(file).then(
        () => [],
        () => [file],
      ),
    ),
  )
  if (missing.flat().length === 0) return true
  const why = 'volumes on a network filesystem need sshfs and openssh-sftp-server'
  if (process.env['REQUIRE_CONTAINERS'] === '1') throw new Error(why)
  console.log(`SKIP ${why}`)
  return false
}

/** Mounted by root for the tenant: whoever the server says the owner is, here it is the tenant. */
async function connect(port: number, source: string, mountPoint: string): Promise<ChildProcess> {
  const options = `directport=${port},uid=${OWNER},gid=${OWNER},dir_cache=no`
  const child = spawn('sshfs', ['-f', '-o', options, `127.0.0.1:${source}`, mountPoint], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const isThere = async (): Promise<boolean> =>
    (await readFile('/proc/self/mountinfo', 'utf8')).includes(` ${mountPoint} `)
  await until(async () => child.exitCode !== null || (await isThere()))
  assert.is(child.exitCode, null)
  return child
}

if (await canReachFiles())
  test('granted, used, taken back; its server hangs, goes and comes back', async () => {
    const world = await ServeWorld.create()
    const [source, remote, local] = await Promise.all(
      ['source/share', 'remote', 'local'].map((name) => world.directory(name)),
    )
    const exported = path.join(world.scratch, 'source')
    if (source === undefined || remote === undefined || local === undefined) return
    await writeFile(path.join(source, 'file'), 'from afar\n')
    await writeFile(path.join(local, 'file'), 'from here\n')
    let server = await SftpServer.listen()
    const { port } = server
    let mounted = await connect(port, exported, remote)
    try {
      await world.configure(`tenants:
  acme: { ids: ${OWNER}-${OWNER + 999} }
  bolt: { ids: 200000-200999 }
volumes:
  afar: { path: ${remote}/share }
  here: { path: ${local} }
policies:
  all: { tenants: ['*'], volumes: { names: ['*'] }, modes: [ro, rw], compute: true }
`)
      await world.serve()
      const done = async (words: string): Promise<void> => {
        const { code, stderr } = await world.insitu(words.split(' '))
        assert.is(code, 0, `${words}: ${stderr}`)
      }
      await done('volume mount afar --tenant acme --at afar --mode rw --compute')
      await done('volume mount here --tenant acme --at here')
      await done('volume mount here --tenant bolt --at here')
      await using acme = ConsumerShell.in(
        `setpriv --reuid=${OWNER} --regid=${OWNER} --clear-groups`.split(' '),
      )
      assert.is(await acme.ask(`cd ${world.home('acme')} && cat afar/file`), 'from afar')
      assert.is(
        await acme.ask('echo written >afar/new && mkdir afar/way && mv afar/new afar/way'),
        '',
      )
      assert.is(await readFile(path.join(source, 'way/new'), 'utf8'), 'written\n')
      const program = 'export default (dir) => dir.file("file").text().toUpperCase()'
      assert.is(
        await acme.ask(`echo '${program}' >afar/.compute; cat afar/.results/result`),
        'FROM AFAR',
      )
      // What changed there shows once the filesystem itself tells of it.
      await writeFile(path.join(source, 'file'), 'and changed afar\n')
      await until(async () => (await acme.ask('cat afar/.results/result')) === 'AND CHANGED AFAR')

      await acme.ask('exec 5<afar/file')
      const { json } = await ask(path.join(world.runtime, 'admin.sock'), '/grants')
      const all = json['grants'] as { id: string; volume: string }[]
      await done(`grant revoke ${all.find(({ volume }) => volume === 'afar')?.id}`)
      assert.match(await acme.ask('cat <&5'), /Stale file handle/)
      assert.match(await acme.ask('exec 5<&-; ls -A afar'), /No such file/)
      await done('volume mount afar --tenant acme --at afar --mode rw')
      assert.is(await acme.ask('cat afar/way/new'), 'written')

      // Whoever reads there waits; nobody else does.
      server.hang()
      let waits = true
      const waiting = world
        .run('cat', [path.join(world.home('acme'), 'afar/way/other')], 60_000)
        .finally(() => (waits = false))
      for (const tenant of ['acme', 'bolt']) {
        const read = await world.run('cat', [path.join(world.home(tenant), 'here/file')])
        assert.is(read.stdout, 'from here\n', read.stderr)
        const made = await world.run('mkdir', [path.join(world.home(tenant), 'made')])
        assert.is(made.code, 0, made.stderr)
      }
      await done('volume unmount here --tenant bolt')
      assert.ok(waits)

      await server[Symbol.asyncDispose]()
      assert.is.not((await waiting).code, 0)
      await exit(mounted)
      const states = async (): Promise<string[]> => {
        const volumes = await ask(path.join(world.runtime, 'admin.sock'), '/volumes')
        return (volumes.json['volumes'] as { name: string; healthy: boolean }[])
          .map(({ name, healthy }) => `${name} ${healthy}`)
          .toSorted()
      }
      await until(async () => (await states()).join() === 'afar false,here true')
      const refused = await world.insitu('volume mount afar --tenant bolt --at afar'.split(' '))
      assert.match(refused.stderr, /does not answer|unhealthy/)

      // Mounted again at its place, it is a volume as before.
      await world.run('umount', ['-l', remote])
      server = await SftpServer.listen(port)
      mounted = await connect(port, exported, remote)
      await until(async () => (await states()).join() === 'afar true,here true')
      await done('volume unmount afar --tenant acme --force')
      await done('volume mount afar --tenant acme --at afar')
      assert.is(await acme.ask('cat afar/file'), 'and changed afar')
    } finally {
      mounted.kill('SIGKILL')
      await exit(mounted)
      await server[Symbol.asyncDispose]()
      await world.run('umount', ['-l', remote])
      await world.close()
    }
  })
else test('needs sshfs', () => undefined)

test.run()
