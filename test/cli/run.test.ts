/** `insitu run`, `check` and `types`: the engine without a mount. */
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CliWorld, exit, INSITU } from '../support/cli.ts'

const test = suite<{ world: CliWorld }>('run')

test.before.each(async (context) => {
  context.world = await CliWorld.create()
})
test.after.each(async ({ world }) => {
  await world.close()
})

async function program(world: CliWorld, source: string, name = 'p.js'): Promise<string> {
  await writeFile(path.join(world.scratch, name), source)
  return name
}

test('the only result goes to stdout, the console to stderr', async ({ world }) => {
  await writeFile(path.join(world.files, 'a.txt'), 'one\ntwo\n')
  const file = await program(
    world,
    `export default function (dir: Directory): void {
  console.log('reading')
  let lines: number = 0
  for (const file of dir.files('*.txt')) for (const line of file.lines()) lines += line.length > 0 ? 1 : 0
  emit('lines.json', { lines })
}`,
    'p.ts',
  )
  const { code, stdout, stderr } = await world.insitu(['run', file, world.files])
  assert.is(code, 0, stderr)
  assert.equal(JSON.parse(stdout), { lines: 2 })
  assert.is(stderr, 'reading\n')
  assert.equal(await readdir(world.files), ['a.txt'], 'nothing is written there')
})

test('the program may come from standard input', async ({ world }) => {
  const done = await world.insitu(['run', '-', world.files], { input: '"ä" + 6 * 7' })
  assert.equal(done, { code: 0, stdout: 'ä42', stderr: '' })
})

test('several results need --out', async ({ world }) => {
  const file = await program(world, `emit('b.txt', 'B'); emit('a.txt', 'A')`)
  const refused = await world.insitu(['run', file, world.files])
  assert.is(refused.code, 2)
  assert.match(
    refused.stderr,
    /^insitu: the program gave 2 results \((a\.txt, b\.txt|b\.txt, a\.txt)\): name a directory for them with --out\n$/,
  )
  assert.is(refused.stdout, '')

  const out = path.join(world.scratch, 'deep/out')
  const { code, stdout } = await world.insitu(['run', file, world.files, '--out', out, '--json'])
  assert.is(code, 0)
  const { results } = JSON.parse(stdout) as { results: { name: string; sizeBytes: number }[] }
  assert.equal(results.map(({ name }) => name).toSorted(), ['a.txt', 'b.txt'])
  assert.equal((await readdir(out)).toSorted(), ['a.txt', 'b.txt'])
  assert.is(await readFile(path.join(out, 'a.txt'), 'utf8'), 'A')
})

test('--out where nothing can be made is refused', async ({ world }) => {
  const file = await program(world, '1')
  const taken = path.join(world.scratch, 'taken')
  await writeFile(taken, '')
  // Node's own recursive mkdir would go on for ever below /proc.
  for (const out of ['/proc/none/deep', taken, path.join(taken, 'below')]) {
    const { code, stderr } = await world.insitu(['run', file, world.files, '--out', out])
    assert.is(code, 1)
    assert.match(stderr, /^insitu: [^\n]+: choose another --out\n$/)
  }
})

test('a program may come through a pipe, in pieces', async ({ world }) => {
  const command = `exec "$0" run <(echo '[6 *'; sleep 0.3; echo '7]') "$1"`
  const { stdout, stderr } = await world.run('bash', ['-c', command, INSITU, world.files])
  assert.equal(JSON.parse(stdout || stderr), [42])
})

test('a program without a result says so', async ({ world }) => {
  const file = await program(world, 'export default () => {}')
  const { code, stdout, stderr } = await world.insitu(['run', file, world.files])
  assert.equal({ code, stdout }, { code: 0, stdout: '' })
  assert.match(stderr, /gave no result: return or emit something/)
})

test('its errors name the place, and give exit code 3', async ({ world }) => {
  const syntax = await program(world, 'const a = 1\nconst b = = 2\n')
  for (const command of [
    ['run', syntax, world.files],
    ['check', syntax],
  ]) {
    const { code, stdout, stderr } = await world.insitu(command)
    assert.equal({ code, stdout }, { code: 3, stdout: '' }, stderr)
    assert.match(stderr, /^insitu: p\.js:2:\d+: SyntaxError: [^\n]+\n$/)
  }
  const throws = await program(world, '\n\n  throw new RangeError("too\\nfar")')
  const { code, stderr } = await world.insitu(['run', throws, world.files])
  assert.is(code, 3)
  assert.match(stderr, /^insitu: p\.js:3:\d+: RangeError: too; far\n$/)
})

test('check compiles and runs nothing', async ({ world }) => {
  const file = await program(world, 'throw new Error("run")')
  assert.equal(await world.insitu(['check', file]), { code: 0, stdout: '', stderr: '' })
  const json = await world.insitu(['check', file, '--json'])
  assert.equal(JSON.parse(json.stdout), { status: 'ok' })
})

test('over a limit is exit code 5 and says which option gives more', async ({ world }) => {
  const endless = await program(world, 'for (;;);', 'endless.js')
  const slow = await world.insitu(['run', endless, world.files, '--timeout', '500ms'])
  assert.is(slow.code, 5, slow.stderr)
  assert.match(
    slow.stderr,
    /^insitu: endless\.js: LimitError: [^\n]*; give it longer than 500 ms with --timeout\n$/,
  )
  const hungry = await program(
    world,
    'const a = []; for (;;) a.push(new Array(1e5).fill(a.length))',
  )
  const fat = await world.insitu(['run', hungry, world.files, '--memory', '32M'])
  assert.is(fat.code, 5, fat.stderr)
  assert.match(fat.stderr, /give it more with --memory/)
})

test('an interrupt ends it with 130 and leaves nothing', async ({ world }) => {
  const endless = await program(world, 'console.log("going"); for (;;);')
  const out = path.join(world.scratch, 'out')
  const { child, says } = world.start([
    'run',
    path.join(world.scratch, endless),
    world.files,
    '--out',
    out,
  ])
  await says('going\n')
  child.kill('SIGINT')
  assert.is(await exit(child), 130)
  assert.not((await readdir(world.scratch)).includes('out'))
})

test('a long run shows a progress line, on a terminal only', async ({ world }) => {
  const endless = await program(world, 'for (;;);')
  // script(1) gives the command a terminal.
  const command = `${INSITU} run ${endless} ${world.files} --timeout 3s`
  const shown = await world.run('script', ['-qefc', command, '/dev/null'])
  assert.match(shown.stdout, /\r\u001b\[Krunning [12]\.\d s/)
  const silent = await world.run('sh', ['-c', command])
  assert.not.match(silent.stdout + silent.stderr, /running/)
})

test('a directory where nothing may be written will do', async ({ world }) => {
  await writeFile(path.join(world.files, 'a.txt'), 'x')
  await chmod(world.files, 0o555)
  const file = await program(world, '[...dir.files()].map((file) => file.name).join()')
  assert.is((await world.insitu(['run', file, world.files])).stdout, 'a.txt')
})

test('without bubblewrap programs are refused, unless told otherwise', async ({ world }) => {
  if (process.getuid?.() !== 0) return console.log('SKIP hiding bubblewrap: it needs root')
  const file = await program(world, '6 * 7')
  // In a mount namespace of its own, something that cannot be executed stands where bwrap was.
  const hide = 'mount --bind /dev/null "$(command -v bwrap)" && exec "$@"'
  const without = async (...args: string[]) =>
    await world.run('unshare', ['--mount', 'sh', '-c', hide, 'sh', INSITU, ...args])
  const refused = await without('run', file, world.files)
  assert.is(refused.code, 69, refused.stderr)
  assert.match(refused.stderr, /^insitu: [^\n]*bubblewrap[^\n]*--unsafe-no-jail[^\n]*\n$/)
  const allowed = await without('run', file, world.files, '--unsafe-no-jail')
  assert.is(allowed.stdout, '42\n', allowed.stderr)
})

test('types are declarations that compile', async ({ world }) => {
  const { code, stdout } = await world.insitu(['types'])
  assert.is(code, 0)
  assert.match(stdout, /declare function emit\(/)
})

test('nothing is left in the temporary directory', async ({ world }) => {
  const file = await program(world, '1')
  const scratch = path.join(world.scratch, 'tmp')
  await mkdir(scratch)
  await world.insitu(['run', file, world.files], { env: { TMPDIR: scratch } })
  assert.equal(await readdir(scratch), [])
})

test.run()
