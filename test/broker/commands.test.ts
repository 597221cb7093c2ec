/** What the commands of the broker refuse: one line that says what is wrong and what to do, and its exit code. */
import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { INSITU } from '../support/cli.ts'
import { Endpoints } from '../support/endpoints.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('commands of the broker')

interface Finished {
  readonly code: number
  readonly stderr: string
}

function insitu(runtime: string, ...args: string[]): Promise<Finished> {
  const env = { ...process.env, INSITU_RUNTIME_DIR: runtime }
  return new Promise((resolve) => {
    const child = execFile(INSITU, args, { env }, (_error, _stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stderr }),
    )
  })
}

async function refused(
  runtime: string,
  args: readonly string[],
  code: number,
  text: string,
): Promise<void> {
  assert.equal(
    await insitu(runtime, ...args),
    { code, stderr: `insitu: ${text}\n` },
    args.join(' '),
  )
}

test('each says what is wrong, and what to do', async () => {
  await using endpoints = await Endpoints.create()
  const runtime = path.join(endpoints.scratch, 'run')
  const mount = ['volume', 'mount', 'data', '--at', 'x']
  await refused(runtime, mount, 2, 'there are several tenants; give --tenant NAME')
  await refused(
    runtime,
    [...mount, '--tenant', 'nobody'],
    1,
    'there is no tenant nobody here, but acme, bolt',
  )
  await refused(
    runtime,
    [...mount, '--tenant', 'acme', '--class', 'fast'],
    2,
    'give a name, or --class, --label and --min-free to choose by',
  )
  await ask(endpoints.socket('acme'), '/mount', { body: { volume: 'data', at: 'used' } })
  const graft = endpoints.mount('acme').at('used')
  if (graft === undefined) throw new Error('it is not there')
  graft.openHandles = 1
  await refused(
    runtime,
    ['volume', 'drain', 'data'],
    1,
    'one grant is in use; wait with --timeout, or take them away with --force',
  )
  const tls = path.join(endpoints.scratch, 'tls')
  mkdirSync(tls)
  writeFileSync(path.join(tls, 'acme.key'), '')
  await refused(
    runtime,
    ['tenant', 'cert', 'acme', '--out', tls],
    1,
    `${tls}/acme.key is there already: take it away, or name another directory with --out`,
  )
  const nowhere = path.join(endpoints.scratch, 'nowhere')
  await refused(
    nowhere,
    [...mount, '--tenant', 'acme'],
    69,
    'no daemon answers; start one with insitu serve',
  )
  await refused(
    nowhere,
    ['config', 'check', nowhere],
    1,
    `${nowhere} is not there: begin with a copy of examples/insitu.yaml, or name another file`,
  )
})

test.run()
