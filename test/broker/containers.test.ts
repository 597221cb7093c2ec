/**
 * Granted volumes at paths of processes that run in mount namespaces of their own already: a consumer
 * that never restarts sees them come, uses them, and sees them go.
 */
import { spawn } from 'node:child_process'
import {
  chmod,
  chown,
  cp,
  mkdir,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount } from '../support/cli.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { long, missingTools } from '../support/long.ts'
import { canRunContainers, Podman, withoutUnified } from '../support/podman.ts'
import { type Served, ServeWorld, until } from '../support/serve-world.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('volumes in running containers')
const able = (await canMount('volumes in containers')) && process.getuid?.() === 0
const engines = able && (await canRunContainers('volumes in containers of podman and crun'))

const OWNER = 100_000

let served: ServeWorld
let daemon: Served | undefined
let podman: Podman | undefined

test.before(async () => {
  served = await ServeWorld.create()
  const data = await served.directory('data')
  await writeFile(path.join(data, 'file'), 'granted\n')
  const work = await served.directory('work')
  await chown(work, OWNER, OWNER)
  await served.configure(`tenants:
  acme: { ids: 100000-165535 }
volumes:
  data: { path: ${data} }
  work: { path: ${work} }
policies:
  all: { tenants: [acme], volumes: { names: ['*'] }, modes: [ro, rw], maxQuota: 1M, compute: true }
`)
  process.env['INSITU_RUNTIME_DIR'] = served.runtime
  if (able) daemon = await served.serve()
  if (engines) podman = await Podman.create()
})
test.after(async () => {
  await podman?.close()
  await served.close()
})

interface Grant {
  readonly id: string
  readonly volume: string
  readonly state: string
  readonly reason?: string
}

async function grants(): Promise<Grant[]> {
  const { json } = await ask(path.join(served.runtime, 'admin.sock'), '/grants')
  return json['grants'] as Grant[]
}

async function done(args: readonly string[]): Promise<void> {
  const { code, stderr } = await served.insitu(args)
  assert.is(code, 0, `${args.join(' ')}: ${stderr}`)
}

const PLAIN: Readonly<Record<string, (inside: string) => string[]>> = {
  unshare: () => ['unshare', '--mount', '--propagation', 'private'],
  // A user namespace of its own: what is mounted in there by root outside stays out of its reach.
  'unshare with a user namespace': () => ['unshare', '--map-root-user', '--mount'],
  bubblewrap: (inside) =>
    'bwrap --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --unshare-pid --die-with-parent --bind'
      .split(' ')
      .concat(inside, inside),
}

for (const [kind, command] of able ? Object.entries(PLAIN) : [])
  test(`${kind}: comes, goes, and comes again`, async () => {
    const inside = await served.directory(kind.replaceAll(' ', '-'))
    const target = path.join(inside, 'volume')
    await using shell = ConsumerShell.in(command(inside))
    assert.match(await shell.ask(`ls ${target}`), /No such file/)
    const pid = String(await shell.pid())
    const to = ['--tenant', 'acme', '--pid', pid, '--target', target]
    for (let turn = 0; turn < 2; turn += 1) {
      await done(['volume', 'mount', 'data', ...to])
      assert.is(await shell.ask(`ls ${target}`), 'file')
      const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8')
      const [line = ''] = mounts.split('\n').filter((each) => each.includes(` ${target} `))
      // Nothing of the host stands there, and what is above the grant is not in it.
      assert.match(line, / \/g\d+ .* ro,nosuid,nodev.* - fuse.insitu insitu /)
      // Here, outside, nothing is mounted.
      assert.equal(
        (await served.mounts()).filter((each) => each.startsWith(inside)),
        [],
      )
      await done(['volume', 'unmount', ...to])
      assert.is(await shell.ask(`ls ${target}`), '')
    }
  })

/** Uses a volume in every way, while it is there, from one shell in there. */
async function uses(shell: ConsumerShell, to: readonly string[], target: string): Promise<void> {
  assert.is(await shell.ask(`ls ${target} 2>/dev/null`), '')
  await done(['volume', 'mount', 'work', '--mode', 'rw', '--compute', ...to])
  assert.is(await shell.ask(`echo written >${target}/one; cat ${target}/one`), 'written')
  assert.is(await readFile(path.join(served.scratch, 'work/one'), 'utf8'), 'written\n')
  // On whose rights it runs is whoever wrote it.
  const program = 'export default (dir) => [...dir.files()].map((f) => f.name + f.text()).join("")'
  assert.is(await shell.ask(`echo '${program}' >${target}/.compute`), '')
  assert.is(await shell.ask(`cat ${target}/.results/result`), 'onewritten')
  const huge = await shell.ask(
    `i=0; while [ $i -lt 600 ] && echo $i$i$i$i >${target}/many$i; do i=$((i+1)); done`,
  )
  assert.match(huge, /[Qq]uota/)
  assert.is(await shell.ask(`rm ${target}/many*; exec 5<${target}/one; pwd`), '/')
  const [grant] = await grants()
  await done(['grant', 'revoke', grant?.id ?? ''])
  assert.match(await shell.ask('cat <&5'), /Stale file handle/)
  assert.is(await shell.ask(`exec 5<&-; ls ${target}`), '')
  // And once more, read-only, and given back.
  await done(['volume', 'mount', 'work', ...to])
  assert.is(await shell.ask(`cat ${target}/one`), 'written')
  assert.match(await shell.ask(`echo more >${target}/one`), /Read-only/)
  await done(['volume', 'unmount', ...to])
  assert.is(await shell.ask(`ls ${target}`), '')
  await rm(path.join(served.scratch, 'work/one'))
}

if (engines)
  test('podman: read, written, computed over, revoked, taken out', async () => {
    if (podman === undefined) return
    const user = `--user=${OWNER}:${OWNER}`
    const child = podman.start(['--name=web', user], 'exec sh')
    await using shell = new ConsumerShell(child)
    assert.is(await shell.ask('cd /; pwd'), '/')
    // The engine as the command finds it is the test's own.
    const before = process.env['PATH'] ?? ''
    const { command, all } = podman.commandOf([])
    const bin = await served.directory('bin')
    const words = [command, ...all].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
    await writeFile(
      path.join(bin, 'podman'),
      `#!/bin/sh\nexport CONTAINERS_CONF='${podman.configuration}' PATH='${before}'\nexec ${words} "$@"\n`,
    )
    await chmod(path.join(bin, 'podman'), 0o755)
    process.env['PATH'] = `${bin}:${before}`
    try {
      await uses(
        shell,
        ['--tenant', 'acme', '--container', 'web', '--target', '/volume'],
        '/volume',
      )
      await done('volume mount data --tenant acme --container web --target /volume'.split(' '))
    } finally {
      process.env['PATH'] = before
    }
    assert.is((await grants()).length, 1)
    // It ends, and the grant with it.
    await podman.podman(['rm', '--force', '--time', '0', 'web'])
    await until(async () => (await grants()).length === 0)
  })

/** Engines run one of them already. */
const RUNTIMES: readonly (readonly [string, ...string[]])[] = [
  ['crun', '--cgroup-manager=disabled'],
  ['runc'],
]

for (const [runtime, ...options] of engines && long ? RUNTIMES : [])
  test(`${runtime}: the same, found by the state of the runtime`, async () => {
    if (missingTools([runtime], [runtime]).length > 0) return console.log(`SKIP ${runtime}`)
    const bundle = await served.directory(`${runtime}-bundle`)
    await cp(podman?.rootfs ?? '', path.join(bundle, 'rootfs'), {
      recursive: true,
      verbatimSymlinks: true,
    })
    await served.run(runtime, ['spec', '--bundle', bundle])
    const file = path.join(bundle, 'config.json')
    const config = JSON.parse(await readFile(file, 'utf8')) as {
      process: Record<string, unknown>
      root: { readonly: boolean }
    }
    config.process['terminal'] = false
    config.process['args'] = ['sh']
    config.process['user'] = { uid: OWNER, gid: OWNER }
    config.process['rlimits'] = []
    config.root.readonly = false
    await writeFile(file, JSON.stringify(config))
    const id = `insitu-test-${process.pid}`
    const { command, all } = withoutUnified(runtime, [...options, 'run', '--bundle', bundle, id])
    await using shell = new ConsumerShell(
      spawn(command, all, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' }),
    )
    try {
      assert.is(await shell.ask('cd /; pwd'), '/')
      await uses(shell, ['--tenant', 'acme', '--container', id, '--target', '/volume'], '/volume')
    } finally {
      await served.run(runtime, ['delete', '--force', id])
    }
  })

if (able)
  test('bad targets are refused, and leave no grant', async () => {
    const inside = await served.directory('targets')
    const target = path.join(inside, 'volume')
    await mkdir(path.join(inside, 'full'))
    await writeFile(path.join(inside, 'full/file'), 'mine')
    await symlink('/', path.join(inside, 'link'))
    await using shell = ConsumerShell.in(['unshare', '--mount'])
    const pid = String(await shell.pid())
    const mount = (...rest: string[]) =>
      served.insitu(['volume', 'mount', 'data', '--tenant', 'acme', ...rest])
    for (const [bad, why, code] of [
      ['full', /not empty/, 1],
      ['link/tmp', /Too many levels/, 1],
      ['none/below', /No such file/, 1],
      ['..', /no part ".."/, 2],
      ['new\nline', /control characters/, 2],
      ['x'.repeat(256), /255 bytes/, 2],
    ] as const) {
      // Not path.join, which would take the dots away.
      const refused = await mount('--pid', pid, '--target', `${inside}/${bad}`)
      assert.is(refused.code, code, `${bad}: ${refused.stderr}`)
      assert.match(refused.stderr, why, bad)
    }
    for (const [flags, code] of [
      [['--pid', String(process.pid), '--target', target], 1],
      [['--pid', '4194304', '--target', target], 1],
      [['--container', '../x', '--target', target], 2],
      [['--pid', pid, '--target', 'relative'], 2],
      [['--pid', pid, '--target', target, '--at', 'here'], 2],
      [[], 2],
    ] as const)
      assert.is((await mount(...flags)).code, code, flags.join(' '))
    assert.equal(await grants(), [])
    // In a mount that others see as well it would be seen by them.
    await using open = ConsumerShell.in(['unshare', '--mount', '--propagation', 'shared'])
    const shared = await mount('--pid', String(await open.pid()), '--target', target)
    assert.match(shared.stderr, /shared with other namespaces/)
    const long = `${inside}/${'y'.repeat(255)}`
    assert.is((await mount('--pid', pid, '--target', long)).code, 0)
    // Two at one place: whatever the tenant calls it.
    assert.match((await mount('--pid', pid, '--target', long)).stderr, /stands at/)
    await done(['volume', 'unmount', '--tenant', 'acme', '--pid', pid, '--target', long])
  })

if (able)
  test('a restart puts it in again; the end of the consumer ends it', async () => {
    const inside = await served.directory('restart')
    const target = path.join(inside, 'volume')
    await using shell = ConsumerShell.in(['unshare', '--mount'])
    const pid = String(await shell.pid())
    const gone = ConsumerShell.in(['unshare', '--mount'])
    await done(['volume', 'mount', 'data', '--tenant', 'acme', '--pid', pid, '--target', target])
    await done(
      `volume mount data --tenant acme --target ${target} --pid ${await gone.pid()}`.split(' '),
    )
    if (daemon !== undefined) await served.kill(daemon, 'SIGKILL')
    assert.match(await shell.ask(`ls ${target}`), /not connected/)
    await gone[Symbol.asyncDispose]()
    daemon = await served.serve()
    assert.is(await shell.ask(`ls ${target}`), 'file')
    // Not one over the other.
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8')
    assert.is(mounts.split('\n').filter((each) => each.includes(` ${target} `)).length, 1)
    await until(async () => (await grants()).length === 1)
    const folder = path.join(served.state, 'tenants/acme/containers')
    assert.is((await readdir(folder)).length, 1)
    await shell[Symbol.asyncDispose]()
    await until(async () => (await grants()).length === 0)
    await until(async () => (await readdir(folder)).length === 0)
  })

if (able)
  test('unmounted or aborted in there: noticed, and none of the tenant', async () => {
    const inside = await served.directory('drift')
    const target = path.join(inside, 'volume')
    await using one = ConsumerShell.in(['unshare', '--mount'])
    await using other = ConsumerShell.in(['unshare', '--mount'])
    for (const shell of [one, other])
      await done(
        `volume mount data --tenant acme --target ${target} --pid ${await shell.pid()}`.split(' '),
      )
    assert.is(await one.ask(`umount ${target}`), '')
    assert.is(await other.ask(`umount -f ${target}`), '')
    // The other's connection, the tenant's mount: neither is concerned.
    assert.is((await served.run('ls', ['-A', served.home('acme')])).code, 0)
    const seen = async (): Promise<boolean> => {
      const states = (await grants()).map(({ state }) => state).toSorted()
      return states.join(' ') === 'active drifted' && (await other.ask(`ls ${target}`)) === 'file'
    }
    // It is looked for every ten seconds.
    for (let tries = 0; !(await seen()); tries += 1) {
      assert.ok(tries < 300)
      await sleep(100)
    }
    const audit = await served.insitu(['audit', '--tenant', 'acme', '--action', 'drift'])
    assert.match(audit.stdout, /it was unmounted in there/)
    for (const { id } of await grants()) await done(['grant', 'revoke', id])
  })

if (!able) test('needs root and FUSE', () => console.log('SKIP volumes in containers'))

test.run()
