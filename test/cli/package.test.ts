/** The packed package, installed globally into a scratch prefix, with the system's own npm and Node. */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, CliWorld, type Finished } from '../support/cli.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const test = suite<{ world: CliWorld }>('package')

test.before(async (context) => {
  context.world = await CliWorld.create()
})
test.after(async ({ world }) => {
  await world.close()
})

/** As a user's shell has it: without what `npm run` and the test runner put in front. */
const systemPath = (process.env['PATH'] ?? '')
  .split(':')
  .filter((folder) => !folder.includes('node_modules') && !folder.includes('npm-cli'))
  .join(':')

test('npm pack, npm i -g: a working insitu', async ({ world }) => {
  const env = { PATH: systemPath, npm_config_update_notifier: 'false' }
  const pack = ['pack', '--silent', '--pack-destination', world.scratch]
  const packed = await world.run('npm', pack, { cwd: ROOT, env, deadlineMs: 240_000 })
  assert.is(packed.code, 0, packed.stderr)
  const tarball = (await readdir(world.scratch)).find((name) => name.endsWith('.tgz')) ?? ''
  const listed = await world.run('tar', ['tzf', tarball])
  for (const part of ['bin/insitu', 'dist/cli/main.js', 'dist/worker/guest/insitu.d.ts', 'NOTICE'])
    assert.ok(listed.stdout.includes(`package/${part}\n`), part)
  for (const part of ['test/', 'src/', 'scripts/'])
    assert.not.ok(listed.stdout.includes(`package/${part}`), part)

  const prefix = path.join(world.scratch, 'prefix')
  const install = [
    'install',
    '--global',
    '--prefix',
    prefix,
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
  ]
  const installed = await world.run('npm', [...install, `./${tarball}`], {
    env,
    deadlineMs: 240_000,
  })
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/.test(installed.stderr)) {
    console.log('SKIP the installed package: the npm registry is not reachable')
    return
  }
  assert.is(installed.code, 0, installed.stderr)

  const insitu = async (...args: string[]): Promise<Finished> =>
    await world.run(path.join(prefix, 'bin/insitu'), args, { env })
  const version = await insitu('--version')
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/, version.stderr)
  await writeFile(path.join(world.scratch, 'p.ts'), 'const n: number = 42; n')
  assert.equal(await insitu('check', 'p.ts'), { code: 0, stdout: '', stderr: '' })
  const run = await insitu('run', 'p.ts', world.files)
  assert.equal(run, { code: 0, stdout: '42\n', stderr: '' })
  assert.match((await insitu('types')).stdout, /declare function emit\(/)

  if (!(await canMount('the installed package’s mount'))) return
  const mounted = await insitu('mount', world.files, world.mountPoint, '-d', '--state', world.state)
  assert.is(mounted.code, 0, mounted.stderr)
  await mkdir(path.join(world.files, 'sub'))
  const shell = 'cp p.ts mount/sub/.compute && cat mount/sub/.results/result'
  assert.equal(await world.run('sh', ['-c', shell]), { code: 0, stdout: '42\n', stderr: '' })
  assert.is((await insitu('unmount', world.mountPoint)).code, 0)
})

test.run()
