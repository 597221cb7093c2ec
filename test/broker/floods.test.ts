/** Who connects to an endpoint again and again, or never says who it is, takes it from nobody. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, closeSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { addon } from '../../src/addon/index.ts'
import { HTTP_BOUNDS } from '../../src/broker/http/bounds.ts'
import { descriptorOf } from '../../src/broker/http/peer.ts'
import { ACME, BOLT, Endpoints, OTHER } from '../support/endpoints.ts'
import { ask, asksAs } from '../support/unix-http.ts'

const test = suite('floods of connections')
const isRoot = process.getuid?.() === 0
if (!isRoot) console.log('SKIP floods of connections: not root, so there are no other users')

/** Keeps more connections under way than the kernel queues, and says how many came to an end, in thousands. */
const FLOOD = `
const { connect } = require('node:net')
let ended = 0
const again = () => {
  const socket = connect(process.argv[1])
  socket.on('error', () => undefined)
  socket.once('connect', () => socket.destroy())
  socket.once('close', () => {
    if (++ended % 1000 === 0) process.stdout.write('.')
    setImmediate(again)
  })
}
for (let n = 0; n < 600; n += 1) again()`

function flood(uid: number, socket: string): ChildProcess {
  return spawn(process.execPath, ['--eval', FLOOD, socket], {
    uid,
    gid: uid,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

test('an outsider is told why some times, and then not listened to', async () => {
  if (!isRoot) return
  await using endpoints = await Endpoints.create()
  const acme = endpoints.socket('acme')
  const asked = Array.from({ length: 500 }, () => ['/grants', {}] as const)
  const answers = await asksAs(OTHER, acme, asked)
  const told = answers.filter(({ status }) => status === 403).length
  assert.ok(told >= HTTP_BOUNDS.tellings, `${told} told`)
  assert.ok(answers.some(({ status }) => status === 0))
  // Another one is told all the same; who may is served.
  assert.equal(
    (await asksAs(BOLT, acme, [['/grants', {}]])).map(({ status }) => status),
    [403],
  )
  assert.equal(
    (await asksAs(ACME, acme, asked.slice(0, 20))).map(({ status }) => status),
    asked.slice(0, 20).map(() => 200),
  )
  const { text } = await ask(endpoints.admin, '/metrics')
  assert.is(/outsiders_total (\d+)/.exec(text)?.[1], String(answers.length + 1), 'all are counted')
})

test('a flood from outside keeps no one’s new connection away', async () => {
  if (!isRoot) return
  await using endpoints = await Endpoints.create()
  const [acme, bolt] = [endpoints.socket('acme'), endpoints.socket('bolt')]
  const child = flood(OTHER, acme)
  try {
    assert.ok(child.stdout)
    await once(child.stdout, 'data')
    for (let n = 0; n < 100; n += 1)
      for (const socket of [acme, bolt]) assert.is((await ask(socket, '/grants')).status, 200)
    await once(child.stdout, 'data')
  } finally {
    child.kill('SIGKILL')
  }
})

test('what one has queued is closed at a time, and who is behind it is let in', async () => {
  if (!isRoot) return
  const folder = mkdtempSync('/tmp/insitu-flood-')
  const socket = path.join(folder, 'sock')
  const server = createServer()
  try {
    server.listen(socket)
    await once(server, 'listening')
    chmodSync(folder, 0o755)
    chmodSync(socket, 0o666)
    // This process accepts nothing while it waits for those.
    const connects = (uid: number, count: number): void => {
      const script = `for (let n = 0; n < ${count}; n += 1)
        require('node:net').connect(process.argv[1], function () { this.destroy() })`
      const done = spawnSync(process.execPath, ['--eval', script, socket], { uid, gid: uid })
      assert.is(done.status, 0, String(done.stderr))
    }
    connects(OTHER, 5)
    connects(BOLT, 1)
    connects(OTHER, 1)
    const listening = descriptorOf(server)
    const uids = Uint32Array.of(ACME, OTHER)
    assert.equal(addon.turnAway(listening, uids, 3), { closed: 3, next: -1 })
    const { closed, next } = addon.turnAway(listening, uids, 100)
    assert.is(closed, 2)
    assert.is(addon.peerUid(next), BOLT)
    closeSync(next)
    assert.equal(addon.turnAway(listening, uids, 100), { closed: 1, next: -1 })
  } finally {
    server.close()
    rmSync(folder, { recursive: true })
  }
})

test.run()
