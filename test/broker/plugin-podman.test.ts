/** The volume plugin as podman uses it: volumes made, run with, shared, kept over a restart, removed. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canRunContainers, Podman } from '../support/podman.ts'
import { exit } from '../support/cli.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { ask } from '../support/unix-http.ts'
import { ServeWorld, until } from '../support/serve-world.ts'

const test = suite('podman volumes')

if (await canRunContainers('podman volumes'))
  test('made, run with by two containers, there after a restart, removed', async () => {
    const world = await ServeWorld.create()
    const socket = path.join(world.scratch, 'plugins', 'insitu.sock')
    const podman = await Podman.create({ insitu: socket })
    try {
      const data = await world.directory('data')
      const more = await world.directory('more')
      for (const each of [data, more]) await writeFile(path.join(each, 'file'), 'granted\n')
      await world.configure(`plugin: { socket: ${socket}, tenant: acme }
tenants: { acme: { ids: 100000-165535 } }
volumes:
  data: { path: ${data} }
  more: { path: ${more} }
  secret: { path: ${await world.directory('secret')} }
policies:
  all: { tenants: [acme], volumes: { names: [data, more] }, modes: [ro, rw] }
`)
      const daemon = await world.serve()
      const grants = async (): Promise<string[]> => {
        const { json } = await ask(path.join(world.runtime, 'admin.sock'), '/grants')
        return (json['grants'] as { at: string; mode: string }[])
          .map(({ at, mode }) => `${at} ${mode}`)
          .toSorted()
      }
      const done = async (...args: string[]): Promise<string> => {
        const { code, stdout, stderr } = await podman.podman(args)
        assert.is(code, 0, `podman ${args.join(' ')}: ${stderr}`)
        return stdout
      }

      await done(
        'volume',
        'create',
        '--driver',
        'insitu',
        '-o',
        'mode=rw',
        '-o',
        'volume=data',
        'work',
      )
      await done('volume', 'create', '--driver', 'insitu', 'more')
      const refused = await podman.podman(['volume', 'create', '--driver', 'insitu', 'secret'])
      assert.ok(refused.code !== 0 && /no policy|no volume/.test(refused.stderr), refused.stderr)
      assert.equal(await grants(), [])

      // One goes on while another comes and goes: podman gives both the same id, and counts too.
      const first = podman.start(['-v', 'work:/w'], 'exec sh')
      const shell = new ConsumerShell(first)
      assert.is(await shell.ask('cat /w/file'), 'granted')
      const second = await podman.run(
        ['-v', 'work:/w', '-v', 'more:/r'],
        'echo written > /w/new; cat /w/new /r/file; echo x > /r/x',
      )
      assert.is(second.stdout, 'written\ngranted\n', second.stderr)
      assert.match(second.stderr, 'Read-only file system')
      assert.is(await readFile(path.join(data, 'new'), 'utf8'), 'written\n')
      // Podman takes away what a container leaves in a process of its own, a moment later.
      const left = (...those: string[]) =>
        until(async () => isDeepStrictEqual(await grants(), those))
      await left('volumes/work rw')

      // The daemon is killed; the count and the path are the same, and a new container is served.
      // The one that runs has what it had.
      await world.kill(daemon, 'SIGKILL')
      assert.match(await shell.ask('cat /w/file'), /not connected/)
      await world.serve()
      assert.equal(await grants(), ['volumes/work rw'])
      assert.is(
        await shell.ask('cat /w/file; echo after >/w/after; cat /w/after'),
        'granted\nafter',
      )
      const third = await podman.run(['-v', 'work:/w', '-v', 'more:/r'], 'cat /w/new /r/file')
      assert.is(third.stdout, 'written\ngranted\n', third.stderr)
      await left('volumes/work rw')
      first.stdin?.end()
      await exit(first)
      await left()

      assert.match(await done('volume', 'inspect', 'work'), '"Driver": "insitu"')
      await done('volume', 'rm', 'work', 'more')
      assert.is(await done('volume', 'ls', '--quiet'), '')
      const { json } = await ask(path.join(world.runtime, 'admin.sock'), '/audit')
      const audit = json['entries'] as { action: string; outcome: string; pid?: number }[]
      const made = audit.filter(({ action }) => action === 'plugin-create')
      assert.equal(made.map(({ outcome }) => outcome).toSorted(), ['done', 'done', 'refused'])
      assert.ok(made.every(({ pid = 0 }) => pid > 0))
    } finally {
      await podman.close()
      await world.close()
    }
  })
else test('needs podman', () => undefined)

test.run()
