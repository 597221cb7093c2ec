/** The tour of docs/broker.md, command by command, with what it says comes out. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { InsituClient, ProblemError } from '../../src/broker/client.ts'
import { Endpoints } from '../support/endpoints.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('the broker, as its page says')
const page = readFileSync(new URL('../../docs/broker.md', import.meta.url), 'utf8')
const bin = fileURLToPath(new URL('../../bin', import.meta.url))

interface Step {
  readonly command: string
  readonly output: string
}

function steps(): Step[] {
  const blocks = [...page.matchAll(/```console\n([^]*?)```/g)].map(([, text = '']) => text)
  return blocks
    .flatMap((block) => block.split(/^\$ /m).slice(1))
    .map((text) => {
      const end = text.indexOf('\n')
      return { command: text.slice(0, end), output: text.slice(end + 1).trim() }
    })
}

/** `…` is anything. */
function pattern(output: string): RegExp {
  const parts = output.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${parts.join('[^]*').replace(/ (?=\[\^\]\*)/g, '\\s*')}$`)
}

async function shell(command: string, env: Record<string, string>): Promise<string> {
  const child = spawn('bash', ['-c', command], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const chunks: Buffer[] = []
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await new Promise((resolve) => child.once('close', resolve))
  return Buffer.concat(chunks).toString('utf8').trim()
}

test('every command of the tour', async () => {
  await using endpoints = await Endpoints.create()
  const env = {
    API: endpoints.socket('acme'),
    INSITU_RUNTIME_DIR: path.join(endpoints.scratch, 'run'),
    PATH: `${bin}:${process.env['PATH'] ?? ''}`,
  }
  const all = steps()
  assert.ok(all.length > 15)
  for (const { command, output } of all) {
    const said = await shell(command, env)
    assert.match(said, pattern(output), `${command}\n${said}`)
  }
})

test('the client: what it asks and what it is refused', async () => {
  await using endpoints = await Endpoints.create()
  const client = new InsituClient(endpoints.socket('acme'))
  assert.is((await client.volumes()).length, 3)
  const stop = new AbortController()
  const heard: string[] = []
  const listening = (async () => {
    for await (const { type, grant } of client.events(stop.signal)) {
      heard.push(`${type} ${grant.at}`)
      if (type === 'unmounted') return
    }
  })()
  while (!(await listeners(endpoints))) await new Promise((resolve) => setTimeout(resolve, 5))
  const dry = await client.explain({ select: { class: 'fast' }, at: 'a' })
  assert.is(dry.volume, 'data')
  const grant = await client.mount({ volume: 'data', at: 'a' }, 'key')
  assert.is((await client.mount({ volume: 'data', at: 'a' }, 'key')).id, grant.id)
  const refused = await client
    .mount({ volume: 'data', at: '../a' })
    .catch((error: unknown) => error)
  assert.ok(refused instanceof ProblemError && refused.code === 'bad-path')
  const computed = await client.compute({ directory: '', program: 'x' })
  const text = await computed?.stream.toArray()
  assert.match(String(text?.[0]), 'ran x')
  const etag = computed?.etag ?? ''
  assert.is(await client.compute({ directory: '', program: 'x' }, { etag }), undefined)
  assert.is((await client.unmount({ grant: grant.id }))?.id, grant.id)
  assert.is(await client.unmount({ grant: grant.id }), undefined)
  await listening
  assert.equal(heard, ['mounted a', 'unmounted a'])
})

async function listeners(endpoints: Endpoints): Promise<boolean> {
  return /insitu_listeners [1-9]/.test((await ask(endpoints.admin, '/metrics')).text)
}

test.run()
