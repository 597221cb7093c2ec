/** The README is tested: its first screen says what a newcomer needs, its commands exist, its links
 * lead somewhere, its transcript and its program run. */
import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, CliWorld, INSITU } from '../support/cli.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(path.join(ROOT, 'README.md'), 'utf8')
const test = suite<{ world: CliWorld }>('readme')

test.before.each(async (context) => {
  context.world = await CliWorld.create()
})
test.after.each(async ({ world }) => {
  await world.close()
})

function block(language: string, containing: string): string {
  for (const [, body = ''] of readme.matchAll(
    new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'),
  ))
    if (body.includes(containing)) return body
  throw new Error(`no ${language} block with ${containing}`)
}

test('the first 30 lines say it all', () => {
  const first = readme.split('\n').slice(0, 30).join('\n')
  for (const said of [
    /\$ insitu mount/,
    /scripts\/demo/,
    /scripts\/test/,
    /It needs Linux/,
    /plain files: unmount, and nothing is left/,
    /threat-model\.md/,
    /version 0\.1/,
    /\(ARCHITECTURE\.md\)/,
  ])
    assert.match(first, said)
})

test('its links lead somewhere', () => {
  for (const page of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md'])
    for (const [, target = ''] of readFileSync(path.join(ROOT, page), 'utf8').matchAll(
      /\]\(([^)#:]+)\)/g,
    ))
      assert.ok(existsSync(path.join(ROOT, target)), `${page}: ${target}`)
})

test('its commands exist', async ({ world }) => {
  const { stdout } = await world.insitu(['--help'])
  const known = [...stdout.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name)
  for (const [, name] of readme.matchAll(/[$`] ?insitu ([a-z]+)/g))
    assert.ok(known.includes(name), name)
})

test('its program compiles and runs', async ({ world }) => {
  await writeFile(path.join(world.files, 'a.log'), 'INFO a\nERROR b\nINFO c\n')
  const source = block('ts', 'export default')
  const { code, stdout, stderr } = await world.insitu(['run', '-', world.files], { input: source })
  assert.is(code, 0, stderr)
  assert.equal(JSON.parse(stdout), { INFO: 2, ERROR: 1 })
})

if (await canMount('tests of the transcript in the README')) {
  test('its transcript runs', async ({ world }) => {
    await cp(path.join(ROOT, 'examples'), path.join(world.scratch, 'examples'), { recursive: true })
    await writeFile(path.join(world.files, 'app.log'), 'INFO started\nERROR disk full\n')
    await mkdir(path.join(world.scratch, 'bin'))
    const here = (text: string) =>
      text.replaceAll('~/logs', world.files).replaceAll('/mnt/logs', world.mountPoint)
    const commands = block('console', 'insitu unmount')
      .split('\n')
      .filter((line) => line.startsWith('$ '))
      .map((line) => here(line.slice(2)))
    assert.is(commands.length, 6)
    const env = { PATH: `${path.dirname(INSITU)}:${process.env['PATH']}` }
    const outputs: string[] = []
    for (const command of commands) {
      const state = command.includes('--detach') ? ` --state ${world.state}` : ''
      const { code, stdout, stderr } = await world.run(
        'bash',
        ['-c', command.replace('--detach', `--detach${state}`)],
        { env },
      )
      assert.is(code, 0, `${command}: ${stderr}`)
      outputs.push(stdout)
    }
    assert.is.not(outputs[2], outputs[4], 'the answer is new')

    const query = here(block('console', '.query'))
      .split('\n')
      .map((line) => line.replace(/^\$ /, ''))
      .join('\n')
    await world.mount()
    const answer = await world.run('bash', ['-c', query])
    assert.equal(answer, { code: 0, stdout: 'app.log', stderr: '' })
  })
}

test.run()
