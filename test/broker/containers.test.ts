/**
 * A granted volume at a path of a process that runs in a mount namespace of its own already: a
 * consumer that never restarts sees it come and go.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, exit } from '../support/cli.ts'
import { ServeWorld, until } from '../support/serve-world.ts'

const test = suite('volumes in running containers')
const able = (await canMount('volumes in containers')) && process.getuid?.() === 0

/** Says what it finds at the path, again and again; `said` is the last of it. */
class Container {
  readonly child: ChildProcess
  said = ''

  constructor(command: readonly string[], directory: string) {
    const [program = '', ...args] = command
    const watch = `while :; do ls "${directory}" 2>&1 | tr '\\n' ' '; echo; sleep 0.02; done`
    this.child = spawn(program, [...args, 'sh', '-c', watch], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    this.child.stdout?.on('data', (data: Buffer) => {
      const lines = data.toString().trimEnd().split('\n')
      this.said = lines.at(-1) ?? ''
    })
  }

  /** A process in there: unshare becomes the shell, bubblewrap has it as its child. */
  async pid(): Promise<number> {
    let pid = this.child.pid ?? 0
    for (;;) {
      const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
      const name = await readFile(`/proc/${pid}/comm`, 'utf8')
      if (name.trim() !== 'bwrap') return pid
      pid = Number(text.trim().split(' ')[0])
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await exit(this.child)
  }
}

let served: ServeWorld

test.before(async () => {
  served = await ServeWorld.create()
  const data = await served.directory('data')
  await writeFile(path.join(data, 'file'), 'granted\n')
  await served.configure(`tenants:
  acme: { ids: 100000-165535 }
volumes:
  data: { path: ${data} }
  more: { path: ${await served.directory('more')} }
policies:
  all: { tenants: [acme], volumes: { names: ['*'] }, modes: [ro, rw] }
`)
  process.env['INSITU_RUNTIME_DIR'] = served.runtime
  if (able) await served.serve()
})
test.after(() => served.close())

const KINDS: Readonly<Record<string, (inside: string) => string[]>> = {
  unshare: () => ['unshare', '--mount', '--propagation', 'private'],
  // A user namespace of its own: what is mounted in there by root outside stays out of its reach.
  'unshare with a user namespace': () => ['unshare', '--map-root-user', '--mount'],
  bubblewrap: (inside) =>
    'bwrap --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --unshare-pid --die-with-parent --bind'
      .split(' ')
      .concat(inside, inside),
}

for (const [kind, command] of able ? Object.entries(KINDS) : [])
  test(`${kind}: comes, goes, and comes again`, async () => {
    const inside = await served.directory(kind.replaceAll(' ', '-'))
    const target = path.join(inside, 'volume')
    await using container = new Container(command(inside), target)
    await until(() => container.said.includes('No such file'))
    const pid = String(await container.pid())
    const to = ['--tenant', 'acme', '--pid', pid, '--target', target]
    for (let turn = 0; turn < 2; turn += 1) {
      const mounted = await served.insitu(['volume', 'mount', 'data', ...to])
      assert.is(mounted.code, 0, mounted.stderr)
      await until(() => container.said === 'file')
      const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8')
      const [line = ''] = mounts.split('\n').filter((each) => each.includes(` ${target} `))
      assert.match(line, / ro,nosuid,nodev/)
      // Here, outside, nothing is mounted.
      assert.equal(
        (await served.mounts()).filter((each) => each.startsWith(inside)),
        [],
      )
      const unmounted = await served.insitu(['volume', 'unmount', ...to])
      assert.is(unmounted.code, 0, unmounted.stderr)
      await until(() => container.said === '')
    }
  })

if (able)
  test('bad targets are refused, and leave no grant; a revoked one is gone in there too', async () => {
    const inside = await served.directory('targets')
    const target = path.join(inside, 'volume')
    await mkdir(path.join(inside, 'full'))
    await writeFile(path.join(inside, 'full/file'), 'mine')
    await symlink('/', path.join(inside, 'link'))
    await using container = new Container(['unshare', '--mount'], target)
    await until(() => container.said.includes('No such file'))
    const pid = String(await container.pid())
    const mount = (...rest: string[]) =>
      served.insitu(['volume', 'mount', 'data', '--tenant', 'acme', ...rest])
    for (const [bad, why] of [
      ['full', /not empty/],
      ['link/tmp', /Too many levels/],
      ['none/below', /No such file/],
      ['..', /ends with a name/],
    ] as const) {
      // Not path.join, which would take the dots away.
      const refused = await mount('--pid', pid, '--target', `${inside}/${bad}`, '--at', 'here')
      assert.is(refused.code, 1, bad)
      assert.match(refused.stderr, why, bad)
    }
    for (const [flags, code] of [
      [['--pid', String(process.pid), '--target', target], 2],
      [['--pid', '4194304', '--target', target], 1],
      [['--container', '../x', '--target', target], 2],
      [[], 2],
    ] as const)
      assert.is((await mount(...flags)).code, code, flags.join(' '))
    assert.is((await mount('--at', 'here')).code, 0)
    // The grant that is there already, in the container as well.
    assert.is((await mount('--pid', pid, '--target', target, '--at', 'here')).code, 0)
    await until(() => container.said === 'file')
    const { stdout } = await served.insitu(['grant', 'list', '--json'])
    const grants = JSON.parse(stdout) as { id: string }[]
    assert.is(grants.length, 1)
    assert.is((await served.insitu(['grant', 'revoke', grants[0]?.id ?? ''])).code, 0)
    await until(() => container.said.includes('Stale file handle'))
  })

if (!able) test('needs root and FUSE', () => console.log('SKIP volumes in containers'))

test.run()
