/**
 * Whatever bytes come over a mount's control socket, each request is answered with a sentence and
 * without a 500, nothing but a proper program is staged, and the next one is served. `SEED=N` repeats.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type ControlOptions, serveControl } from '../../src/daemon/control-server.ts'
import { VfsError } from '../../src/errors.ts'
import { long } from '../support/long.ts'
import { LIMITS } from '../sandbox/sandbox-kit.ts'

const test = suite('a control socket')
const timeLimitMs = long ? 120_000 : 4_000
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)

const [DIRECTORY, PROGRAM] = ['data', Buffer.from('export default 1')]
const id = fc.oneof(fc.constantFrom(0, 1000, 2 ** 32 - 1, -1, 0.5), fc.anything())
const program = fc.record(
  {
    path: fc.oneof(fc.constantFrom(DIRECTORY, '', '..', '/etc', 'a\0b'), fc.anything()),
    source: fc.oneof(fc.constant(PROGRAM.toString('base64')), fc.string(), fc.anything()),
    principal: fc.oneof(fc.record({ uid: id, gid: id, groups: fc.array(id) }), fc.anything()),
  },
  { requiredKeys: [], noNullPrototype: true },
)
const good = {
  path: DIRECTORY,
  source: PROGRAM.toString('base64'),
  principal: { uid: 1000, gid: 1000, groups: [] },
}
/** Good but for one part. */
const nearly = fc
  .tuple(program, fc.constantFrom('path', 'source', 'principal'))
  .map(([{ path: at, source, principal }, part]) => ({
    ...good,
    ...{ path: { path: at }, source: { source }, principal: { principal } }[part],
  }))
/** Of a program that is too large, and of one that would be that even if it were not one. */
const large = fc
  .constantFrom(1.2, 3)
  .map((times) => ({ ...good, source: 'A'.repeat((LIMITS.programBytes * times * 4) / 3) }))
const body = fc.oneof(
  fc
    .oneof(fc.constant(good), nearly, large, program, fc.json())
    .map((each) => Buffer.from(JSON.stringify(each))),
  fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each)),
  fc.constant(Buffer.alloc(LIMITS.programBytes * 2, 'x')),
)
const target = fc.oneof(
  { weight: 2, arbitrary: fc.constant('/programs') },
  fc.constantFrom(
    '/status',
    '/programs',
    '/source',
    '/source?directory=data',
    '/source?directory=',
  ),
  fc.constantFrom('//', '*', '/..', '/status/', '/%', '/programs?%zz', 'http://[', '/?\u{fffd}'),
  fc.webPath(),
)
const method = fc.constantFrom('GET', 'POST', 'POST', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD')
const request = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(method, target, body).map(([verb, at, content]) => {
      const head = `${verb} ${at} HTTP/1.1\r\nhost: x\r\ncontent-length: ${content.length}\r\n\r\n`
      return Buffer.concat([Buffer.from(head), content])
    }),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 500 }).map((each) => Buffer.from(each)) },
)

test(`answers what it does not understand, seed ${seed}`, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'insitu-control-'))
  const socket = path.join(folder, 'socket')
  let staged = 0
  const close = await serveControl(options(socket, () => (staged += 1)))
  try {
    const property = fc.asyncProperty(request, async (bytes) => {
      const before = staged
      const answer = await ask(socket, bytes)
      assert.not.match(answer, /^HTTP\/1\.1 5/, answer.slice(0, 300))
      const wellFormed = bytes.includes('POST /programs') && bytes.includes('"path":"data"')
      assert.ok(staged === before || wellFormed, 'something was staged')
      assert.match(await ask(socket, STATUS), /^HTTP\/1\.1 200 [^]*"programs":0/)
    })
    const limits = { interruptAfterTimeLimit: timeLimitMs, numRuns: 1_000_000 }
    const found = await fc.check(property, { seed, ...limits })
    if (found.failed) assert.unreachable(fc.defaultReportMessage(found))
    console.log(`seed ${seed}: ${found.numRuns} requests, ${staged} programs staged`)
    assert.ok(found.numRuns > 20 && staged > 0)
  } finally {
    await close()
    rmSync(folder, { recursive: true })
  }
})

const STATUS = Buffer.from('GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')

/** All that comes back until the server closes, or until it has nothing more to say. */
async function ask(socket: string, bytes: Buffer): Promise<string> {
  const connection = net.connect(socket)
  const parts: Buffer[] = []
  connection.on('data', (part) => parts.push(part))
  connection.on('error', () => undefined) // closed while we still write
  connection.end(bytes)
  await new Promise((resolve) => connection.once('close', resolve))
  return Buffer.concat(parts).toString('latin1')
}

/** A daemon with one directory and no program. */
function options(socket: string, stage: () => void): ControlOptions {
  return {
    record: {
      pid: process.pid,
      mountPoint: '/mount',
      socket,
      startTicks: '0',
      backing: '/volume',
      stateDirectory: '/state',
      startedAt: '',
    },
    fileServer: {
      negotiated: {} as ControlOptions['fileServer']['negotiated'],
      statistics: () => ({}) as ReturnType<ControlOptions['fileServer']['statistics']>,
      volume: {
        keyOf: async (at: string) => {
          if (at !== DIRECTORY) throw new VfsError('ENOENT', 'no such directory')
          return 'key'
        },
      },
    },
    compute: {
      list: async () => [],
      source: () => undefined,
      stage: async (_directory, source, { uid, gid, groups }) => {
        assert.ok(source.length <= LIMITS.programBytes * 2, 'a body without a bound')
        if (source.length > LIMITS.programBytes) throw new VfsError('EFBIG', 'too large')
        for (const each of [uid, gid, ...groups])
          assert.ok(Number.isInteger(each) && each >= 0 && each < 2 ** 32, 'no principal')
        stage()
        return undefined as unknown as Awaited<ReturnType<ControlOptions['compute']['stage']>>
      },
    },
    sandbox: { statistics: () => ({ workers: 0, idle: 0, runs: 0, queued: 0, kills: 0 }) },
    limits: LIMITS,
  }
}

test.run()
