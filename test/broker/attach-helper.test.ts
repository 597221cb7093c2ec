/** The helper that enters containers, started before it is needed: it takes one whole order, and outlives nobody. */
import { spawn } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount } from '../support/cli.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { ServeWorld, until } from '../support/serve-world.ts'

const test = suite('the helper that enters containers')
const HELPER = fileURLToPath(new URL('../../native/build/Release/mount_attach', import.meta.url))
const able = (await canMount('the helper that enters containers')) && process.getuid?.() === 0

/** What it makes of these bytes, after which nothing comes. */
async function given(bytes: Uint8Array): Promise<[number | null, string, string]> {
  const child = spawn(HELPER, { stdio: 'pipe' })
  let [out, err] = ['', '']
  child.stdout.on('data', (data: Buffer) => (out += data.toString()))
  child.stderr.on('data', (data: Buffer) => (err += data.toString()))
  child.stdin.on('error', () => undefined) // it may end without reading
  child.stdin.end(bytes)
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return [code, out, err]
}

function order(...words: readonly string[]): Buffer {
  const text = Buffer.from(words.map((word) => `${word}\0`).join(''))
  const size = Buffer.alloc(4)
  size.writeUInt32LE(text.length)
  return Buffer.concat([size, text])
}

if (able)
  test('does nothing of an order that is cut off, and says what is none', async () => {
    const whole = order('detach', '4194304', '1', '1', '/nowhere', '0')
    assert.equal(await given(whole), [3, '', 'process 4194304 has ended\n'])
    for (let size = 0; size < whole.length; size += 1)
      assert.equal(await given(whole.subarray(0, size)), [0, '', ''], `of ${size} bytes`)
    for (const words of [
      ['attach'],
      ['detach', '1'],
      ['renew', '1', '1', '1', '1'],
      ['x', '1', '1'],
    ])
      assert.equal(await given(order(...words)), [1, '', 'this is no order\n'], words.join(' '))
    assert.equal(await given(Buffer.alloc(4, 0xff)), [1, '', 'the order is too long\n'])
    // Without the tree that an attach is of.
    const attach = order('attach', String(process.pid), '1', '1', '/x', 'ro', 'g1')
    assert.equal((await given(attach))[0], 1)
  })

/** Helpers of that process that wait. */
async function waiting(daemon: number): Promise<number[]> {
  const found: number[] = []
  for (const name of (await readdir('/proc')).filter((each) => /^\d+$/.test(each))) {
    const at = path.join('/proc', name)
    if ((await readlink(path.join(at, 'exe')).catch(() => '')) !== HELPER) continue
    const status = await readFile(path.join(at, 'status'), 'utf8').catch(() => '')
    if (new RegExp(`^PPid:\\t${daemon}$`, 'm').test(status)) found.push(Number(name))
  }
  return found
}

if (able)
  test('one waits; another takes its place when it is killed; none outlives the daemon', async () => {
    const served = await ServeWorld.create()
    try {
      await served.configure(`tenants: { acme: { ids: 100000-165535 } }
volumes: { data: { path: ${await served.directory('data')} } }
policies: { all: { tenants: [acme], volumes: { names: [data] }, modes: [ro] } }
`)
      const daemon = await served.serve()
      const of = daemon.child.pid ?? 0
      assert.equal(await waiting(of), [])
      await using shell = ConsumerShell.in(['unshare', '--mount', '--propagation', 'private'])
      const target = path.join(await served.directory('inside'), 'volume')
      const place = ['--tenant', 'acme', '--pid', String(await shell.pid()), '--target', target]
      const done = async (...words: string[]): Promise<void> => {
        const { code, stderr } = await served.insitu(['volume', ...words, ...place])
        assert.is(code, 0, stderr)
      }
      await done('mount', 'data')
      await until(async () => (await waiting(of)).length === 1)
      for (const each of await waiting(of)) process.kill(each, 'SIGKILL')
      await done('unmount')
      await done('mount', 'data')
      await until(async () => (await waiting(of)).length === 1)
      const [last = 0] = await waiting(of)
      await served.kill(daemon, 'SIGKILL')
      await until(async () => {
        const stat = await readFile(`/proc/${last}/stat`, 'utf8').catch(() => ') Z')
        return / Z/.test(stat.slice(stat.lastIndexOf(')')))
      })
    } finally {
      await served.close()
    }
  })

if (!able) test('needs root and FUSE', () => console.log('SKIP the helper that enters containers'))

test.run()
