/**
 * The file server over npm fuse-native: the suites of files and virtual files run over it, with its
 * limits told one by one (test/support/fuse-native-limits.ts). Some of them here, all with
 * `INSITU_LONG=1`, and each by itself with `INSITU_FILE_SERVER=fuse-native`.
 */
import { spawn } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { loadBinding } from '../../src/file-server/fuse-native/package.ts'
import { canMount, CliWorld, exit } from '../support/cli.ts'

const test = suite<{ world: CliWorld }>('fuse-native')
const root = fileURLToPath(new URL('..', import.meta.url))

const BRIEF = ['file-server/names', 'virtual-files/results']
const LONG = [
  'conformance/model',
  'conformance/posix',
  'file-server/data',
  'file-server/mounts',
  'file-server/virtual-compute',
  'file-server/virtual-rights',
  'virtual-files/freshness',
  'virtual-files/query',
  'virtual-files/refusals',
  'virtual-files/tree',
  'virtual-files/writing',
]
const suites = process.env['INSITU_LONG'] === '1' ? [...BRIEF, ...LONG] : BRIEF

test.before.each(async (context) => {
  context.world = await CliWorld.create()
})
test.after.each(async ({ world }) => {
  await world.close()
})

const FALLBACK = ['--file-server', 'fuse-native']

if ((await canMount('tests over fuse-native')) && hasPackage()) {
  for (const name of suites)
    test(`${name} holds, but for the limits`, async () => {
      const { code, output } = await runSuite(path.join(root, `${name}.test.ts`))
      for (const [line] of output.matchAll(/(SKIP|LIMIT) .*/g)) console.log(`  ${line}`)
      assert.is(code, 0, output)
    })

  test('a tour', async ({ world }) => {
    await world.mount(FALLBACK)
    const script = `
      echo 'a 500' > web.log
      echo "emit('n', [...dir.file('web.log').lines()].length + '\\n')" > .compute
      cat .results/n; echo 'b 500' >> web.log; cat .results/n; stat -c %s .results/n; ls -A
      exec 3<>.query; echo "1 + 1 + '\\n'" >&3; cat <&3; echo "2 + 2 + '\\n'" >&3; cat <&3
      (: <> .query) 2>&1 | grep -o 'resource busy'; exec 3>&-
      mv .compute prog; ls -d .results; exec 4< prog; rm prog; ls -A; cat <&4`
    const { stdout, stderr } = await world.run('bash', ['-c', script], { cwd: world.mountPoint })
    const program = "emit('n', [...dir.file('web.log').lines()].length + '\\n')\n"
    assert.is(stdout, `1\n2\n2\nweb.log\n2\n4\nresource busy\nweb.log\n${program}`)
    assert.match(stderr, /^ls: cannot access '.results': No such file or directory\n$/)
    assert.equal(await fs.readdir(world.files), ['web.log'])
  })

  test('status says which server serves, and doctor that it is there', async ({ world }) => {
    await world.mount(FALLBACK)
    const [mount] = JSON.parse((await world.insitu(['status', '--json'])).stdout)
    assert.is(mount.negotiated.server, 'fuse-native')
    assert.is(mount.negotiated.passthrough, false)
    assert.match((await world.insitu(['status'])).stdout, /fuse-native/)
    assert.match((await world.insitu(['doctor'])).stdout, /^ok {4}fuse-native/m)
  })

  test('serves one user', async ({ world }) => {
    const args = ['mount', world.files, world.mountPoint, '--allow-other', ...FALLBACK]
    const { code, stderr } = await world.insitu(args)
    assert.is(code, 2)
    assert.match(stderr, /--allow-other needs the native file server/)
  })

  test('ends when somebody else unmounts', async ({ world }) => {
    const daemon = await world.mount(FALLBACK)
    await world.run('umount', [world.mountPoint])
    assert.is(await exit(daemon), 0)
  })

  test('no name is read by a shell or taken for an option', async ({ world }) => {
    for (const name of ["a,allow_other\nb'$(touch pwned)`touch pwned`\\054dev", '-o allow_other']) {
      const [files, mountPoint] = [`${name} files`, name].map((each) =>
        path.join(world.scratch, each),
      ) as [string, string]
      await fs.mkdir(files)
      await fs.mkdir(mountPoint)
      const state = ['--state', world.state, '--detach']
      const mounted = await world.insitu(['mount', files, mountPoint, ...state, ...FALLBACK])
      assert.is(mounted.code, 0, mounted.stderr)
      try {
        await fs.writeFile(path.join(mountPoint, name), 'x')
        assert.equal(await fs.readdir(files), [name])
        const table = await fs.readFile('/proc/self/mounts', 'utf8')
        const options = table.split('\n').map((line) => line.split(' '))
        const ours = options.find(
          ([source, at]) => source === 'insitu' && at?.startsWith(world.scratch),
        )
        assert.not.match(ours?.[3] ?? 'allow_other', /allow_other/)
      } finally {
        assert.is((await world.insitu(['unmount', mountPoint])).code, 0)
      }
    }
    assert.not.ok((await fs.readdir(world.scratch)).includes('pwned'))
  })

  test('a mount point of over 1,000 bytes is refused, not cut', async ({ world }) => {
    const mountPoint = path.join(world.scratch, ...Array.from({ length: 5 }, () => 'x'.repeat(250)))
    await fs.mkdir(mountPoint, { recursive: true })
    const { code, stderr } = await world.insitu(['mount', world.files, mountPoint, ...FALLBACK])
    assert.is(code, 1)
    assert.match(stderr, /too long for fuse-native/)
  })
}

function hasPackage(): boolean {
  try {
    loadBinding()
    return true
  } catch (error) {
    console.log(`SKIP tests over fuse-native: ${String(error)}`)
    test('is skipped', () => undefined)
    return false
  }
}

async function runSuite(file: string): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, INSITU_FILE_SERVER: 'fuse-native' },
  })
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  child.stderr.on('data', (data: Buffer) => (output += data.toString()))
  return { code: await new Promise((resolve) => child.once('close', resolve)), output }
}

test.run()
