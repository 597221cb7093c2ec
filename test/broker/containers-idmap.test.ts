/**
 * Volumes in containers whose user namespace has ids of its own: the container's id k is the tenant's kth, for
 * files and for programs.
 */
import { chmod, chown, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount } from '../support/cli.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { ServeWorld } from '../support/serve-world.ts'
import { UserNamespace } from '../support/user-namespace.ts'

const test = suite('ids in containers with a user namespace')
const able = (await canMount('ids in containers')) && process.getuid?.() === 0

const TENANT = 100_000
const ENGINE = 300_000
const COUNT = 65_536

let served: ServeWorld
let namespace: UserNamespace
let work: string

test.before(async () => {
  served = await ServeWorld.create()
  work = await served.directory('work')
  for (const [name, owner] of [
    ['first', TENANT],
    ['sixth', TENANT + 5],
    ['host', 0],
  ] as const) {
    const file = path.join(work, name)
    await writeFile(file, `of ${name}\n`)
    await chown(file, owner, owner)
    await chmod(file, name === 'host' ? 0o644 : 0o600)
  }
  await chown(work, TENANT, TENANT)
  await chmod(work, 0o777)
  await served.configure(`tenants: { acme: { ids: ${TENANT}-${TENANT + COUNT - 1} } }
volumes: { work: { path: ${work} } }
policies: { all: { tenants: [acme], volumes: { names: [work] }, modes: [ro, rw], compute: true } }
`)
  process.env['INSITU_RUNTIME_DIR'] = served.runtime
  if (!able) return
  namespace = await UserNamespace.create(ENGINE, COUNT)
  await served.serve()
})
test.after(async () => {
  await namespace?.[Symbol.asyncDispose]()
  await served.close()
})

async function ownerOf(name: string): Promise<string> {
  const { uid, gid } = await stat(path.join(work, name))
  return `${uid}:${gid}`
}

/** With the volume at /VOLUME of a shell of that container's root. */
async function inside(body: (shell: ConsumerShell, volume: string) => Promise<void>) {
  const folder = await served.directory('inside')
  await using shell = ConsumerShell.in(namespace.command)
  assert.is(await shell.ask(`mount -t tmpfs own ${folder} && chmod 755 ${folder}`), '')
  const target = path.join(folder, 'volume')
  const to = `--tenant acme --pid ${await shell.pid()} --target ${target}`
  const mounted = await served.insitu(`volume mount work --mode rw --compute ${to}`.split(' '))
  assert.is(mounted.code, 0, mounted.stderr)
  await shell.ask(`cd ${target}`)
  await body(shell, target)
  await shell.ask('cd /')
  const unmounted = await served.insitu(`volume unmount ${to}`.split(' '))
  assert.is(unmounted.code, 0, unmounted.stderr)
}

/** A command of the sixth user in there. */
const as = (command: string, groups = '--clear-groups'): string =>
  `setpriv --reuid=5 --regid=5 ${groups} sh -c '${command}'`

if (able)
  test('files: the first is root there, the sixth its sixth, and the host’s nobody’s', () =>
    inside(async (shell) => {
      assert.is(
        await shell.ask('stat -c "%n %u:%g" first sixth host'),
        'first 0:0\nsixth 5:5\nhost 65534:65534',
      )
      assert.is(await shell.ask('cat first sixth host'), 'of first\nof sixth\nof host')
      assert.is(await shell.ask(`echo a >by-root; mkdir way; ${as('echo b >by-sixth')}`), '')
      assert.equal(
        [await ownerOf('by-root'), await ownerOf('way'), await ownerOf('by-sixth')],
        [`${TENANT}:${TENANT}`, `${TENANT}:${TENANT}`, `${TENANT + 5}:${TENANT + 5}`],
      )
      assert.match(await shell.ask(as('cat first')), /Permission denied/)
      assert.is(await shell.ask(as('cat sixth')), 'of sixth')
      // What is changed is what is shown.
      assert.is(await shell.ask('chown 7:8 by-root; stat -c %u:%g by-root'), '7:8')
      assert.is(await ownerOf('by-root'), `${TENANT + 7}:${TENANT + 8}`)
      assert.match(await shell.ask('chown 7 host'), /not permitted|too large/)
      assert.match(await shell.ask('echo x >>host'), /Permission denied/)
      assert.is(await shell.ask('ln -s first link; mknod pipe p; stat -c %u link pipe'), '0\n0')
      // A group that is none of its first.
      await shell.ask('chown 0:9 first; chmod 640 first')
      assert.is(await shell.ask(as('cat first', '--groups=9')), 'of first')
      assert.match(await shell.ask(as('cat first', '--groups=10')), /Permission denied/)
      await shell.ask('chown 0:0 first; chmod 600 first')
    }))

if (able)
  test('somebody without an id in there makes nothing', () =>
    inside(async (shell, volume) => {
      const { stderr } = await served.run('nsenter', [
        `--mount=/proc/${await shell.pid()}/ns/mnt`,
        'sh',
        '-c',
        `cat ${volume}/host; echo x >${volume}/of-the-host`,
      ])
      assert.match(stderr, /Value too large/)
    }))

if (able)
  test('programs run as whom of the volume their writer is', () =>
    inside(async (shell) => {
      const program =
        'export default (dir) => [...dir.files()].filter((f) => /^(first|sixth)$/.test(f.name)).map((f) => { try { return f.text().trim() } catch (e) { return e.code } }).join(", ")'
      assert.is(
        await shell.ask(`echo '${program}' >.compute; cat .results/result`),
        'of first, EACCES',
      )
      assert.is(await shell.ask('stat -c %u:%g .results/result'), '0:0')
      // Of nobody else, since an input is its first's alone.
      assert.match(await shell.ask(as('cat .results/result')), /Permission denied/)
      assert.match(await shell.ask(as('ls .results')), /Permission denied/)
      await shell.ask('rm .compute; mkdir sixths; chown 5:5 sixths; cp -p sixth sixths/')
      const own = program.replaceAll("'", '')
      assert.is(
        await shell.ask(
          `cd sixths; ${as(`echo "${own.replaceAll('"', '\\"')}" >.compute; cat .results/result`)}`,
        ),
        'of sixth',
      )
      assert.is(await shell.ask('stat -c %u:%g .results/result; cd ..'), '5:5')
      const query = `exec 3<>.query; echo "export default (dir) => dir.file(\\"sixth\\").text()" >&3; cat <&3`
      assert.is(await shell.ask(as(query)), 'of sixth')
      // By a group of its writer.
      await shell.ask('chown 0:9 first; chmod 640 first')
      const asked = query.replaceAll('sixth', 'first')
      assert.is(await shell.ask(as(asked, '--groups=9')), 'of first')
      assert.not.match(await shell.ask(as(asked, '--groups=10')), /of first/)
    }))

if (!able) test('needs root and FUSE', () => console.log('SKIP ids in containers'))

test.run()
