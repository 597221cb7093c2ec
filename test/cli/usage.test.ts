/** Help, usage errors and the launcher: nothing is mounted or run. */
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CliWorld, INSITU, type Finished } from '../support/cli.ts'

const test = suite<{ world: CliWorld }>('usage')

test.before(async (context) => {
  context.world = await CliWorld.create()
})
test.after(async ({ world }) => {
  await world.close()
})

function assertOneLine({ stderr }: Finished, pattern: RegExp): void {
  assert.match(stderr, pattern)
  assert.match(stderr, /^insitu: [^\n]+\n$/, 'one line, in our name')
}

const COMMANDS = [
  ['mount'],
  ['unmount'],
  ['run'],
  ['check'],
  ['types'],
  ['status'],
  ['wait'],
  ['logs'],
  ['program'],
  ['program', 'list'],
  ['program', 'export'],
  ['program', 'import'],
  ['program', 'cancel'],
  ['doctor'],
]

test('every command explains itself with an example', async ({ world }) => {
  for (const command of [[], ...COMMANDS]) {
    const { code, stdout, stderr } = await world.insitu([...command, '--help'])
    assert.is(code, 0, command.join(' '))
    assert.match(stdout, /Usage: insitu/)
    assert.match(stdout, /Example:\n {2}\$ insitu/, command.join(' '))
    assert.is(stderr, '')
  }
})

test('usage errors are one line and exit code 2', async ({ world }) => {
  const wrong: [string[], RegExp][] = [
    [['mount'], /missing required argument 'directory'/],
    [['mount', 'a', 'b', 'c'], /too many arguments/],
    [['mount', 'a', 'b', '--timeout', 'soon'], /'soon' is invalid.*as 30s/],
    [['mount', 'a', 'b', '--memory', '1K'], /at least 8M/],
    [['mount', 'a', 'b', '--fast'], /unknown option '--fast'/],
    [['explode'], /unknown command 'explode'/],
    [['program', 'explode'], /unknown command 'explode'/],
    [['run', 'p.js', '.', '--json'], /give --out too/],
    [['wait', '.', '--timeout', '0'], /Give a duration/],
  ]
  for (const [args, pattern] of wrong) {
    const finished = await world.insitu(args)
    assert.is(finished.code, 2, args.join(' '))
    assertOneLine(finished, pattern)
    assert.is(finished.stdout, '')
  }
})

test('no command at all shows the help, as a usage error', async ({ world }) => {
  for (const args of [[], ['program']]) {
    const { code, stderr } = await world.insitu(args)
    assert.is(code, 2)
    assert.match(stderr, /Usage: insitu/)
  }
})

test('the version is the package’s', async ({ world }) => {
  const manifest = path.join(path.dirname(INSITU), '../package.json')
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string }
  for (const flag of ['--version', '-V'])
    assert.equal(await world.insitu([flag]), { code: 0, stdout: `${version}\n`, stderr: '' })
})

test('a reader that had enough is no failure', async ({ world }) => {
  const { code, stdout, stderr } = await world.run('bash', [
    '-c',
    `set -o pipefail; "${INSITU}" --help | head -c 5`,
  ])
  assert.equal({ code, stdout, stderr }, { code: 0, stdout: 'Usage', stderr: '' })
})

test('control characters in names do not reach the terminal', async ({ world }) => {
  const finished = await world.insitu(['check', 'no\u001b[31m\nsuch.js'])
  assert.is(finished.code, 1)
  assertOneLine(finished, /no\?\[31m; ?such\.js does not exist/)
})

test('the launcher finds its package through links', async ({ world }) => {
  await symlink(INSITU, path.join(world.scratch, 'absolute'))
  await symlink('absolute', path.join(world.scratch, 'relative'))
  const { code } = await world.run(path.join(world.scratch, 'relative'), ['--version'])
  assert.is(code, 0)
})

test('the launcher refuses a Node that cannot run it', async ({ world }) => {
  const old = path.join(world.scratch, 'old-node')
  await writeFile(old, '#!/bin/sh\necho 115\n')
  await chmod(old, 0o755)
  const finished = await world.insitu(['--version'], { env: { INSITU_NODE: old } })
  assert.is(finished.code, 69)
  assertOneLine(finished, /INSITU_NODE=.* is not Node 24 or 26/)
})

test('the launcher says so when there is no Node at all', async ({ world }) => {
  const bare = path.join(world.scratch, 'bare')
  await mkdir(path.join(bare, 'bin'), { recursive: true })
  await copyFile(INSITU, path.join(bare, 'bin/insitu'))
  const tools = path.join(world.scratch, 'tools')
  await mkdir(tools)
  const which = await world.run('sh', [
    '-c',
    'for tool in sh readlink dirname uname; do command -v $tool; done',
  ])
  for (const tool of which.stdout.trim().split('\n'))
    await symlink(tool, path.join(tools, path.basename(tool)))
  const finished = await world.run(path.join(bare, 'bin/insitu'), [], { env: { PATH: tools } })
  assert.is(finished.code, 69)
  assertOneLine(finished, /needs Node 24 or 26/)
})

test.run()
