/** What a shell offers at a Tab, as bash itself finds it; the others' scripts are looked at by theirs. */
import { execFile } from 'node:child_process'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { INSITU } from '../support/cli.ts'
import { Endpoints } from '../support/endpoints.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('completion')

interface Shell {
  readonly code: unknown
  readonly output: string
}

async function shell(program: string, args: readonly string[], runtime = ''): Promise<Shell> {
  const bin = path.dirname(INSITU)
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    INSITU_RUNTIME_DIR: runtime,
  }
  return await new Promise((resolve) => {
    execFile(program, args, { env, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ code: error?.code, output: stdout + stderr }),
    )
  })
}

/** Each line as it stands before the cursor; what is offered for its last word. */
async function offered(runtime: string, lines: readonly string[]): Promise<string[][]> {
  const script = `source <(insitu completion bash)
complete -p insitu >/dev/null || exit 1
for line in "$@"; do
  read -ra COMP_WORDS <<< "$line"
  [[ $line == *' ' ]] && COMP_WORDS+=('')
  COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 ))
  _insitu
  echo "\${COMPREPLY[*]}"
done`
  const { code, output } = await shell('bash', ['-c', script, 'bash', ...lines], runtime)
  assert.is(code, undefined, output)
  return output
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' ').filter((word) => word !== ''))
}

test('commands, options, choices and names, in bash', async () => {
  await using endpoints = await Endpoints.create()
  await ask(endpoints.socket('acme'), '/mount', { body: { volume: 'data', at: 'shared/d' } })
  const runtime = path.join(endpoints.scratch, 'run')
  const [group, options, tenants, shown, at, files] = await offered(runtime, [
    'insitu tenant ',
    'insitu volume list --e',
    'insitu grant list --tenant ',
    'insitu tenant show b',
    'insitu volume unmount --tenant acme sh',
    'insitu config check ',
  ])
  for (const name of ['add', 'cert', 'list', 'remove', 'show']) assert.ok(group?.includes(name))
  assert.not.ok(group?.includes('__complete'))
  assert.equal(options, ['--explain'])
  assert.equal(tenants, ['acme', 'bolt'])
  assert.equal(shown, ['bolt'])
  assert.equal(at, ['shared/d'])
  assert.equal(files ?? [], [], 'bash’s own')
})

test('without a daemon there are no names, and no noise', async () => {
  const { output } = await shell(INSITU, ['__complete', '--', 'tenant', 'show', ''], '/nowhere')
  assert.is(output, '')
})

for (const [name, check] of [
  ['zsh', '-n'],
  ['fish', '--no-execute'],
] as const)
  test(`${name} can read its script`, async () => {
    const file = `<(insitu completion ${name})`
    const { code, output } = await shell('bash', [
      '-c',
      `command -v ${name} && ${name} ${check} ${file}`,
    ])
    if (code === 1 && output === '') console.log(`SKIP the script of ${name}: it is not here`)
    else assert.is(code, undefined, output)
  })

test.run()
