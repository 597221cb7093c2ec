/**
 * Containers whose root is hostile: against the flags of a volume that was put in, against where it is put,
 * against the daemon that puts it there, and against other tenants.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { addon } from '../../src/addon/index.ts'
import { canMount, exit } from '../support/cli.ts'
import { Compiled } from '../support/compiled.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { type Served, ServeWorld } from '../support/serve-world.ts'
import { type Answer, ask } from '../support/unix-http.ts'
import { UserNamespace } from '../support/user-namespace.ts'

const test = suite('hostile containers')
const able = (await canMount('hostile containers')) && process.getuid?.() === 0

const ACME = 100_000
const BOLT = 200_000
/** Of no tenant. */
const ENGINE = 300_000
const COUNT = 65_536
const PRIVATE = ['unshare', '--mount', '--propagation', 'private']

const helper = fileURLToPath(new URL('../../native/build/Release/mount_attach', import.meta.url))
const compiled = new Compiled()
let attacks: string
let served: ServeWorld
let daemon: Served | undefined

test.before(async () => {
  served = await ServeWorld.create()
  const data = await served.directory('data')
  await writeFile(path.join(data, 'file'), 'granted\n')
  await served.run('mknod', ['-m', '666', path.join(data, 'device'), 'c', '1', '5'])
  await served.run('chown', ['-R', `${ACME}:${ACME}`, data])
  await served.configure(`tenants:
  acme: { ids: ${ACME}-${ACME + COUNT - 1} }
  bolt: { ids: ${BOLT}-${BOLT + COUNT - 1} }
volumes:
  data: { path: ${data} }
policies:
  all: { tenants: [acme, bolt], volumes: { names: ['*'] }, modes: [ro, rw] }
`)
  if (!able) return
  const sources = fileURLToPath(new URL('mount-attacks', import.meta.url))
  attacks = compiled.build(sources)
  await served.run('chmod', ['-R', 'a+rX', path.dirname(attacks)])
  daemon = await served.serve()
})
test.after(async () => {
  await served.close()
  compiled.remove()
})

async function mount(body: object): Promise<Answer> {
  const asked = { tenant: 'acme', volume: 'data', ...body }
  return await ask(path.join(served.runtime, 'admin.sock'), '/containers/mount', { body: asked })
}

async function unmount(body: object): Promise<void> {
  const socket = path.join(served.runtime, 'admin.sock')
  const { status, text } = await ask(socket, '/containers/unmount', {
    body: { tenant: 'acme', force: true, ...body },
  })
  assert.is(status, 200, text)
}

async function grants(): Promise<unknown[]> {
  const { json } = await ask(path.join(served.runtime, 'admin.sock'), '/grants')
  return json['grants'] as unknown[]
}

/** A shell in such a container, with a tmpfs of its own at `inside`, where its root may do everything. */
async function container(command: readonly string[], inside: string): Promise<ConsumerShell> {
  const shell = ConsumerShell.in(command)
  assert.is(await shell.ask(`mount -t tmpfs own ${inside} && chmod 755 ${inside}`), '')
  return shell
}

/** Where what was put in is that a process sees; only such has a number of a grant for its root. */
async function volumesSeenBy(pid: number | 'self'): Promise<string[]> {
  const mounts = (await readFile(`/proc/${pid}/mountinfo`, 'utf8')).split('\n')
  return mounts.flatMap((line) =>
    / \/g\d+(\/\/deleted)? .* - fuse\.insitu /.test(line) ? [line.split(' ')[4] ?? ''] : [],
  )
}

const KINDS: Readonly<Record<string, () => Promise<[string[], AsyncDisposable | undefined]>>> = {
  'an engine’s': async () => {
    const namespace = await UserNamespace.create(ENGINE, COUNT)
    return [namespace.command, namespace]
  },
  'the tenant’s own range': async () => {
    const namespace = await UserNamespace.create(ACME, COUNT)
    return [namespace.command, namespace]
  },
  'a user of the tenant as root': async () => [
    `setpriv --reuid=${ACME} --regid=${ACME} --clear-groups unshare --map-root-user --mount`.split(
      ' ',
    ),
    undefined,
  ],
}

/** The flags may be lifted, since it is their mount; what they stood for holds. */
const OUTCOMES = `write EROFS
nested done
nested-remount EPERM
nested-write EROFS
bind done
bind-lift done
bind-write EROFS
bind-mkdir EROFS
bind-unlink EROFS
bind-chown EROFS
bind-device ENXIO
clone done
clone-lift done
clone-write EROFS
clone-move done
clone-moved-write EROFS
fspick done
reconfigure EPERM
remount-filesystem EPERM
above outside
handle EOPNOTSUPP
remount done
remount-write EROFS
unmount done
beneath-file ENOENT
beneath-write done`

for (const [kind, make] of able ? Object.entries(KINDS) : [])
  test(`root in a user namespace, ${kind}: read-only stays read-only`, async () => {
    const inside = await served.directory(kind.replaceAll(/\W/g, '-'))
    const [command, namespace] = await make()
    await using _ = namespace
    await using shell = await container(command, inside)
    const target = path.join(inside, 'volume')
    const to = { pid: await shell.pid(), target }
    const { status, text } = await mount(to)
    assert.is(status, 201, text)
    // What was made for it is its root's.
    assert.is(await shell.ask(`stat -c %u:%g ${target} && cat ${target}/file`), '0:0\ngranted')
    assert.is(
      await shell.ask(`mkdir ${inside}/spare; ${attacks} ${target} ${inside}/spare`),
      OUTCOMES,
    )
    const data = path.join(served.scratch, 'data')
    assert.is(await readFile(path.join(data, 'file'), 'utf8'), 'granted\n')
    assert.equal((await readdir(data)).toSorted(), ['device', 'file'])
    // Copies of the mount go with the grant as well.
    await unmount(to)
    assert.is((await mount(to)).status, 201)
    await shell.ask(`mount --bind ${target} ${inside}/spare; exec 5<${target}/file`)
    await unmount(to)
    assert.match(await shell.ask('cat <&5'), /Stale file handle/)
    assert.match(await shell.ask(`cat ${inside}/spare/file`), /Stale file handle|No such file/)
    assert.is(await shell.ask(`exec 5<&-; ls -A ${target}`), '')
    assert.equal(await grants(), [])
  })

if (able)
  test('what the name of a target leads to is no more than its root could reach', async () => {
    const inside = await served.directory('deputy')
    const host = await served.directory('host')
    await using namespace = await UserNamespace.create(ENGINE, COUNT)
    await using shell = await container(namespace.command, inside)
    // A directory of the host, under the name that the operator gave.
    assert.is(await shell.ask(`mkdir ${inside}/srv; mount --bind ${host} ${inside}/srv`), '')
    const refused = await mount({ pid: await shell.pid(), target: `${inside}/srv/made` })
    assert.equal([refused.status, refused.json['code']], [409, 'bad-target'], refused.text)
    assert.equal(await readdir(host), [])
    // And none of its root's is left where nothing came to stand.
    await shell.ask(`umount ${inside}/srv; mount -t tmpfs none ${inside}/srv`)
    await shell.ask(`mount --make-shared ${inside}/srv`)
    const shared = await mount({ pid: await shell.pid(), target: `${inside}/srv/made` })
    assert.match(shared.text, /shared with other namespaces/)
    assert.is(await shell.ask(`ls -A ${inside}/srv`), '')
    assert.equal(await grants(), [])
  })

/** Links and directories take each other's place, as fast as can be, until it is killed. */
const SWAPPING = `
  const fs = require('node:fs'), [inside, victim] = process.argv.slice(1)
  const at = (name) => inside + '/' + name
  const attempt = (step) => { try { step() } catch {} } // what is mounted on stays
  fs.mkdirSync(at('way/in'), { recursive: true })
  process.stdout.write('swapping')
  for (;;)
    for (const [name, kept] of [['way', 'kept'], ['way/in', 'way/out']]) {
      attempt(() => fs.renameSync(at(name), at(kept)))
      attempt(() => fs.symlinkSync(victim, at(name)))
      attempt(() => fs.unlinkSync(at(name)))
      attempt(() => fs.renameSync(at(kept), at(name)))
    }`

if (able)
  test('names that are swapped meanwhile lead nowhere else', async () => {
    const inside = await served.directory('swaps')
    const victim = await served.directory('victim')
    await mkdir(path.join(victim, 'in'))
    await using shell = await container(PRIVATE, inside)
    const pid = await shell.pid()
    const swapping = spawn(
      'nsenter',
      [`--mount=/proc/${pid}/ns/mnt`, process.execPath, '-e', SWAPPING, inside, victim],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await new Promise((resolve) => swapping.stdout.once('data', resolve))
    const outcomes = new Set<unknown>()
    try {
      for (let turn = 0; turn < 150; turn += 1) {
        const target = `${inside}/way/in`
        const { status, json, text } = await mount({ pid, target })
        outcomes.add(status === 201 ? 'done' : json['code'])
        assert.ok(status === 201 || json['code'] === 'bad-target', text)
        const seen = await volumesSeenBy(pid)
        const own = new RegExp(`^${inside}/(way|kept)/(in|out)$`)
        assert.equal(
          seen.filter((each) => !own.test(each)),
          [],
        )
        if (status === 201) await unmount({ pid, target })
        assert.equal(await volumesSeenBy(pid), [], 'one is left')
      }
    } finally {
      swapping.kill('SIGKILL')
      await exit(swapping)
    }
    assert.ok(outcomes.has('done') && outcomes.has('bad-target'), [...outcomes].join(' '))
    assert.equal(await readdir(path.join(victim, 'in')), [])
    assert.equal(await volumesSeenBy('self'), [])
    assert.equal(await grants(), [])
  })

if (able)
  test('a mount that was moved is found; one that is covered keeps nothing', async () => {
    const inside = await served.directory('moved')
    await using shell = await container(PRIVATE, inside)
    const pid = await shell.pid()
    const to = { pid, target: `${inside}/way/volume` }
    for (const [move, where] of [
      [`mv ${inside}/way ${inside}/renamed`, 'renamed/volume'],
      [`mkdir ${inside}/moved && mount --move ${to.target} ${inside}/moved`, 'moved'],
    ] as const) {
      await shell.ask(`mkdir ${inside}/way`)
      assert.is((await mount(to)).status, 201)
      assert.is(await shell.ask(`${move} && cat ${inside}/${where}/file`), 'granted')
      await unmount(to)
      assert.equal(await volumesSeenBy(pid), [])
    }
    assert.is((await mount(to)).status, 201)
    await shell.ask(`mount -t tmpfs none ${to.target}`)
    await unmount(to)
    assert.match(await shell.ask(`umount ${to.target}; cat ${to.target}/file`), /No such|Stale/)
  })

if (able)
  test('targets that lead into the kernel’s own trees', async () => {
    const inside = await served.directory('trees')
    await using shell = await container(PRIVATE, inside)
    const pid = await shell.pid()
    for (const target of [
      '/proc/self/cwd/volume',
      '/proc/1/root/tmp/volume',
      '/proc/1/ns/volume',
      '/proc/volume',
      '/dev/fd/volume',
      '/sys/volume',
      '/sys/kernel',
    ]) {
      const { status, json, text } = await mount({ pid, target })
      assert.equal([status, json['code']], [409, 'bad-target'], `${target}: ${text}`)
    }
    for (const target of ['/x/../y', '/nul\u0000', '/new\nline', `/${'y'.repeat(256)}`, '/', 'x'])
      assert.is((await mount({ pid, target })).json['code'], 'bad-path', JSON.stringify(target))
    assert.equal(await volumesSeenBy(pid), [])
    assert.equal(await grants(), [])
  })

if (able)
  test('a process that is not the one that was meant', async () => {
    const inside = await served.directory('others')
    await using shell = await container(PRIVATE, inside)
    const pid = await shell.pid()
    const target = `${inside}/volume`
    const ticks = Number((await readFile(`/proc/${pid}/stat`, 'utf8')).split(' ')[21])
    for (const startTicks of [0, ticks - 1, ticks + 1]) {
      const { status, json } = await mount({ pid, startTicks, target })
      assert.equal([status, json['code']], [410, 'container-gone'])
    }
    // Also when it is another one by the time that the helper looks.
    const space = addon.identifyProcess(pid)?.mountNamespace ?? ''
    for (const [words, why] of [
      [[pid, ticks + 1, space], /has ended/],
      [[pid, ticks, Number(space) + 1], /went to another mount namespace/],
    ] as const) {
      const order = ['detach', ...words.map(String), target, '0']
      assert.match((await addon.runAttach(pid, helper, order, -1)).err, why)
    }
    assert.is((await mount({ pid, startTicks: ticks, target })).status, 201)
    await unmount({ pid, target })
    // Another tenant's, by the ids that it has: whoever asks for it.
    await using bolt = await UserNamespace.create(BOLT, COUNT)
    await using other = await container(bolt.command, inside)
    const to = { pid: await other.pid(), target }
    const refused = await mount(to)
    assert.equal([refused.status, refused.json['code']], [403, 'forbidden'], refused.text)
    assert.is(await other.ask(`ls ${target} 2>&1 | grep -c granted`), '0')
    assert.is((await mount({ ...to, tenant: 'bolt' })).status, 201)
    await unmount({ ...to, tenant: 'bolt' })
    assert.equal(await grants(), [])
  })

/** Where a container is in a control group that an engine named after it, and below it one that it named itself. */
const GROUPS = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].find((each) => existsSync(each)) ?? ''

if (able && GROUPS !== '')
  test('a container that another one is said to be', async () => {
    const [one, claimed] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
    const made = [`${GROUPS}/insitu-${one}`, `${GROUPS}/insitu-${one}/${claimed}`]
    const inside = await served.directory('claims')
    const shell = await container(PRIVATE, inside)
    const pid = await shell.pid()
    const target = `${inside}/volume`
    try {
      for (const each of made) await mkdir(each)
      await writeFile(`${made[1]}/cgroup.procs`, String(pid))
      const said = await mount({ pid, container: claimed, target })
      assert.equal([said.status, said.json['code']], [410, 'container-gone'], said.text)
      const meant = await mount({ pid, container: one, target })
      assert.is(meant.status, 201, meant.text)
      await unmount({ pid, container: one, target })
    } finally {
      await shell[Symbol.asyncDispose]()
      for (const each of made.toReversed()) await served.run('rmdir', [each])
    }
  })

/** A FUSE mount at the container's `hung` whose server reads every request and answers INIT alone. */
const HANGING = `
import os, struct, sys
fd = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other'
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'x', sys.argv[1].encode(), b'fuse', 0, options.encode()): sys.exit(1)
request = os.read(fd, 1 << 20)
unique = struct.unpack_from('<Q', request, 8)[0]
body = struct.pack('<IIIIHHIIHHIIII', 7, 31, 65536, 0, 12, 9, 4096, 1, 0, 0, 0, 0, 0, 0).ljust(64, b'\\0')
os.write(fd, struct.pack('<IiQ', 16 + len(body), 0, unique) + body)
print('hanging', flush=True)
while True: os.read(fd, 1 << 20)
`

if (able)
  test('a target whose file server answers nothing holds up nobody', async () => {
    const inside = await served.directory('hung')
    await using shell = await container(PRIVATE, inside)
    const pid = await shell.pid()
    await shell.ask(`mkdir ${inside}/hung`)
    const hanging = spawn(
      'nsenter',
      [`--mount=/proc/${pid}/ns/mnt`, 'python3', '-c', HANGING, `${inside}/hung`],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    try {
      await new Promise((resolve) => hanging.stdout.once('data', resolve))
      const waiting = mount({ pid, target: `${inside}/hung/below` })
      await using other = await container(PRIVATE, inside)
      const to = { pid: await other.pid(), target: `${inside}/volume` }
      assert.is((await mount(to)).status, 201)
      assert.is(await other.ask(`cat ${inside}/volume/file`), 'granted')
      await unmount(to)
      const late = await waiting
      assert.equal([late.status, late.json['code']], [409, 'bad-target'], late.text)
      assert.match(late.text, /did not answer in time/)
      assert.equal(await grants(), [])
      // The helper is stuck in there still; the daemon is not.
      if (daemon !== undefined) assert.is(await served.kill(daemon, 'SIGTERM'), 0)
      daemon = await served.serve()
    } finally {
      hanging.kill('SIGKILL')
      await exit(hanging)
    }
  })

if (!able) test('needs root and FUSE', () => console.log('SKIP hostile containers'))

test.run()
