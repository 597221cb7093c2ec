/**
 * From the request until a consumer that looks sees it, and until it no longer does: a grant through the
 * API, against `mount --bind` that propagates into a container's namespace and against `nsenter`, which
 * injects it there. With more grants standing; a restart with all of them; and other people's file
 * operations while a hundred grants a second come and go. Needs root.
 */
import { fork, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request as httpRequest } from 'node:http'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { median, quantile, row } from './measure.ts'

const ROUNDS = Number(process.argv[2] ?? 200)
const MOST = Number(process.argv[3] ?? 10_000)
const COMING_PER_SECOND = 100
const PLACES = 16
const BESIDE_TURNS = 15
const BESIDE_MS = 700
/** Until the API's bound on requests has forgotten a flood. */
const REFILL_MS = 2_500

const scratch = mkdtempSync('/tmp/insitu-bench-broker-')
const agent = new Agent({ keepAlive: true, maxSockets: 16 })
const TENANT = path.join(scratch, 'run/tenants/acme/api.sock')
const ADMIN = path.join(scratch, 'run/admin.sock')
const measured: number[] = []
let child: ChildProcess | undefined

interface Ready {
  readonly ms: number
  readonly restored: number
  readonly failed: number
}

async function start(): Promise<Ready> {
  const server = fileURLToPath(new URL('broker-serve.ts', import.meta.url))
  child = fork(server, [scratch])
  return await new Promise((resolve, reject) => {
    child?.once('message', (ready) => resolve(ready as Ready))
    child?.once('exit', () => reject(new Error('the server ended')))
  })
}

async function stop(): Promise<void> {
  const ending = child
  child = undefined
  if (ending === undefined || ending.exitCode !== null) return
  const ended = new Promise((resolve) => ending.once('exit', resolve))
  if (ending.connected) ending.disconnect()
  await ended
}

async function post(route: string, body: object, socketPath = TENANT): Promise<void> {
  const text = JSON.stringify(body)
  await new Promise<void>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': text.length }
    const call = httpRequest(
      { socketPath, path: route, method: 'POST', agent, headers },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.once('end', () => {
          if ((answer.statusCode ?? 0) < 300) resolve()
          else reject(new Error(Buffer.concat(chunks).toString()))
        })
      },
    )
    call.once('error', reject)
    call.end(text)
  })
}

/** The API is bounded to 500 requests a second: whoever makes ten thousand grants waits in between. */
async function patient(route: string, body: object): Promise<void> {
  for (;;) {
    try {
      return await post(route, body)
    } catch (error) {
      if (!String(error).includes('too-many-requests')) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** p50 and p99 of both ways, in ms. */
async function measure(
  name: string,
  rounds: number,
  seen: () => boolean,
  attach: () => Promise<void> | void,
  detach: () => Promise<void> | void,
): Promise<number> {
  const [on, off]: [number[], number[]] = [[], []]
  for (let round = 0; round < rounds; round += 1) {
    const begun = performance.now()
    await attach()
    while (!seen());
    const there = performance.now()
    await detach()
    while (seen());
    on.push(there - begun)
    off.push(performance.now() - there)
    // Slower than the bound on requests.
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  row(name, quantile(on, 0.5), quantile(on, 0.99), quantile(off, 0.5), quantile(off, 0.99))
  return quantile(on, 0.5)
}

function run(command: string, ...args: string[]): void {
  const done = spawnSync(command, args)
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${String(done.stderr)}`)
}

function grants(name: string): Promise<number> {
  return measure(
    name,
    ROUNDS,
    () => existsSync(path.join(scratch, 'mount/bench/marker')),
    () => post('/mount', { volume: 'data', subpath: 'bench', at: 'bench' }),
    () => post('/unmount', { at: 'bench' }),
  )
}

async function peers(): Promise<number[]> {
  const shared = path.join(scratch, 'shared')
  mkdirSync(shared)
  run('mount', '-t', 'tmpfs', 'insitu-bench', shared)
  run('mount', '--make-shared', shared)
  mkdirSync(path.join(shared, 'at'))
  mkdirSync(path.join(shared, 'other'))
  const container = spawn('unshare', ['-m', '--propagation', 'slave', 'sleep', '600'])
  try {
    await new Promise((resolve) => setTimeout(resolve, 300))
    const inside = path.join('/proc', String(container.pid), 'root', shared)
    const source = path.join(scratch, 'data/bench')
    const pid = String(container.pid)
    return [
      await measure(
        'mount --bind, propagated',
        Math.min(ROUNDS, 100),
        () => existsSync(path.join(inside, 'at/marker')),
        () => run('mount', '--bind', source, path.join(shared, 'at')),
        () => run('umount', path.join(shared, 'at')),
      ),
      await measure(
        'nsenter and mount --bind',
        Math.min(ROUNDS, 100),
        () => existsSync(path.join(inside, 'other/marker')),
        () =>
          run('nsenter', '-t', pid, '-m', 'mount', '--bind', source, path.join(shared, 'other')),
        () => run('nsenter', '-t', pid, '-m', 'umount', path.join(shared, 'other')),
      ),
      await injections(pid, inside),
    ]
  } finally {
    container.kill('SIGKILL')
    spawnSync('umount', ['-l', shared])
  }
}

/** Put into the container through the API, on a connection of its own. */
async function injections(pid: string, inside: string): Promise<number> {
  // Where nobody else sees it.
  const target = path.join(scratch, 'private')
  mkdirSync(target)
  run('nsenter', '-t', pid, '-m', 'mount', '-t', 'tmpfs', '--make-private', 'insitu-bench', target)
  const place = { tenant: 'acme', pid: Number(pid), target: path.join(target, 'at') }
  const marker = path.join(inside, '../private/at/marker')
  return await measure(
    'a grant put into a container',
    ROUNDS,
    () => existsSync(marker),
    () => post('/containers/mount', { ...place, volume: 'data', subpath: 'bench' }, ADMIN),
    () => post('/containers/unmount', place, ADMIN),
  )
}

async function fill(from: number, to: number): Promise<void> {
  const numbers = Array.from({ length: to - from }, (_, i) => from + i).values()
  const worker = async (): Promise<void> => {
    for (const n of numbers)
      await patient('/mount', { volume: 'data', subpath: `s/${n}`, at: `s/${n}` })
  }
  await Promise.all(Array.from({ length: 8 }, worker))
  await new Promise((resolve) => setTimeout(resolve, REFILL_MS))
}

/** Operations a second in the tenant's mount. */
async function operations(ms: number): Promise<number> {
  const script = fileURLToPath(new URL('broker-operations.ts', import.meta.url))
  const worker = spawn(process.execPath, [script, path.join(scratch, 'mount'), String(ms)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  worker.stdout.on('data', (data: Buffer) => (said += data.toString()))
  await new Promise((resolve) => worker.once('close', resolve))
  return Number(said)
}

/** Grants that come and go until it is called off; each place has one at a time. */
async function comingAndGoing(until: AbortSignal): Promise<number> {
  const free = Array.from({ length: PLACES }, (_, place) => place)
  const under = new Set<Promise<void>>()
  let count = 0
  while (!until.aborted) {
    await new Promise((resolve) => setTimeout(resolve, 1_000 / COMING_PER_SECOND))
    const place = free.shift()
    if (place === undefined) continue
    const at = `coming/${place}`
    const one = patient('/mount', { volume: 'data', subpath: `c/${place}`, at })
      .then(() => patient('/unmount', { at, force: true }))
      .finally(() => {
        free.push(place)
        under.delete(one)
      })
    under.add(one)
    count += 1
  }
  await Promise.all(under)
  return count
}

/** In turns, as the machine has other work too: the median of what a turn with grants is to its idle one. */
async function besideGrants(): Promise<void> {
  const [idle, busy]: [number[], number[]] = [[], []]
  let [coming, seconds] = [0, 0]
  for (let turn = 0; turn < BESIDE_TURNS; turn += 1) {
    idle.push(await operations(BESIDE_MS))
    const end = new AbortController()
    const began = performance.now()
    const grants = comingAndGoing(end.signal)
    busy.push(await operations(BESIDE_MS))
    end.abort()
    coming += await grants
    seconds += (performance.now() - began) / 1_000
  }
  row('file operations a second, idle', Math.round(median(idle)))
  row(`with ${Math.round(coming / seconds)} grants a second`, Math.round(median(busy)))
  const ratios = busy.map((rate, turn) => rate / (idle[turn] ?? Number.NaN))
  row('ratio, in the median turn', median(ratios))
}

try {
  for (const folder of ['home', 'mount', 'state', 'run', 'data/bench', 'data/s', 'data/c'])
    mkdirSync(path.join(scratch, folder), { recursive: true })
  writeFileSync(path.join(scratch, 'data/bench/marker'), '')
  for (let n = 0; n < MOST; n += 1) mkdirSync(path.join(scratch, `data/s/${n}`))
  for (let n = 0; n < PLACES; n += 1) mkdirSync(path.join(scratch, `data/c/${n}`))
  await start()
  row('ms until it is seen', 'attach p50', 'p99', 'detach p50', 'p99')
  let own = 0
  for (const standing of new Set([1, 100, MOST])) {
    const before = measured.length === 0 ? 0 : (measured.at(-1) ?? 0)
    await fill(before, standing)
    measured.push(standing)
    const p50 = await grants(`a grant, with ${standing} standing`)
    own ||= p50
  }
  const [bind = Number.NaN, nsenter = Number.NaN, injected = Number.NaN] = await peers()
  row('a grant : mount --bind, nsenter', (own / bind).toFixed(2), (own / nsenter).toFixed(2))
  row('a grant put in : nsenter', (injected / nsenter).toFixed(2))
  await besideGrants()
  await stop()
  const { ms, restored, failed } = await start()
  row(`restart with ${MOST} grants, ms`, ms, `${restored} back`, `${failed} not`)
} finally {
  agent.destroy()
  await stop()
  spawnSync('umount', ['-l', path.join(scratch, 'mount')])
  rmSync(scratch, { recursive: true, force: true })
}
