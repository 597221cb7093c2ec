/**
 * From the request until a consumer that looks sees it, and until it no longer does: a grant through the
 * API, against `mount --bind` that propagates into a container's namespace and against `nsenter`, which
 * injects it there. With more grants standing; a restart with all of them; and other people's file
 * operations while a hundred grants a second come and go. Needs root. Arguments: rounds, most grants that
 * stand; `--docs` writes what was found into docs/performance.md.
 */
import { fork, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request as httpRequest } from 'node:http'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from './broker-client.ts'
import { type Table, writeBrokerDocs } from './broker-docs.ts'
import { Container, measureWays, ratioOf, type Timings, type Way } from './broker-ways.ts'
import { median, quantile, row } from './measure.ts'

const DOCS = process.argv.includes('--docs')
const [rounds, most] = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))
const ROUNDS = Number(rounds ?? 100)
const MOST = Number(most ?? 10_000)
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
const latencies: Table = {
  head: ['ms until it is seen', 'attach p50', 'p99', 'detach p50', 'p99'],
  rows: [],
}
const figures: Table = { head: ['', ''], rows: [] }
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

async function post(route: string, body: object): Promise<void> {
  const text = JSON.stringify(body)
  await new Promise<void>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': text.length }
    const call = httpRequest(
      { socketPath: TENANT, path: route, method: 'POST', agent, headers },
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

function grant(tenant: Client): Way {
  return {
    name: 'a grant',
    seen: () => existsSync(path.join(scratch, 'mount/bench/marker')),
    attach: () => tenant.post('/mount', { volume: 'data', subpath: 'bench', at: 'bench' }),
    detach: () => tenant.post('/unmount', { at: 'bench' }),
  }
}

/** Put into the container through the API, on a connection of its own. */
function injection(admin: Client, container: Container): Way {
  const place = { tenant: 'acme', pid: container.pid, target: container.target }
  return {
    name: 'a grant put into a container',
    seen: () => container.seesTarget(),
    attach: () => admin.post('/containers/mount', { ...place, volume: 'data', subpath: 'bench' }),
    detach: () => admin.post('/containers/unmount', place),
  }
}

async function fill(from: number, to: number): Promise<void> {
  const numbers = Array.from({ length: to - from }, (_, i) => from + i).values()
  const worker = async (): Promise<void> => {
    for (const n of numbers)
      await patient('/mount', { volume: 'data', subpath: `s/${n}`, at: `s/${n}` })
  }
  await Promise.all(Array.from({ length: 8 }, worker))
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
  const ratios = busy.map((rate, turn) => rate / (idle[turn] ?? Number.NaN))
  tell(figures, 'file operations a second, nobody asks for grants', Math.round(median(idle)))
  const rate = Math.round(coming / seconds)
  tell(figures, `with ${rate} grants a second that come and go`, Math.round(median(busy)))
  tell(figures, 'ratio, in the median turn', median(ratios))
}

function tell(table: Table, name: string, ...cells: (string | number)[]): void {
  table.rows.push([name, ...cells])
  row(name, ...cells)
}

function tellTimings({ name, attach, detach }: Timings, standing: number): void {
  const four = [attach, detach].flatMap((each) => [quantile(each, 0.5), quantile(each, 0.99)])
  tell(latencies, `${name}, with ${standing.toLocaleString('en')} standing`, ...four)
}

/** With each number of grants that stand, beside the other ways to do it. */
async function waysWith(standing: number, container: Container): Promise<void> {
  const source = path.join(scratch, 'data/bench')
  using tenant = await Client.connect(TENANT)
  using admin = await Client.connect(ADMIN)
  const granting = grant(tenant)
  const others = [container.bind(source), container.nsenter(source), injection(admin, container)]
  const timings = await measureWays(ROUNDS, [granting, ...others])
  const [alone] = await measureWays(ROUNDS, [{ ...granting, name: 'a grant, one after another' }])
  for (const each of [...timings, ...(alone ? [alone] : [])]) tellTimings(each, standing)
  const [own, bind, nsenter, injected] = timings.map(({ attach }) => attach)
  if (own === undefined || bind === undefined || nsenter === undefined || injected === undefined)
    return
  const name = `to attach, with ${standing.toLocaleString('en')} standing`
  tell(figures, `${name}: a grant / mount --bind`, ratioOf(own, bind))
  tell(figures, `${name}: a grant / nsenter`, ratioOf(own, nsenter))
  tell(figures, `${name}: one put into a container / nsenter`, ratioOf(injected, nsenter))
}

try {
  for (const folder of ['home', 'mount', 'state', 'run', 'data/bench', 'data/s', 'data/c'])
    mkdirSync(path.join(scratch, folder), { recursive: true })
  writeFileSync(path.join(scratch, 'data/bench/marker'), '')
  for (let n = 0; n < MOST; n += 1) mkdirSync(path.join(scratch, `data/s/${n}`))
  for (let n = 0; n < PLACES; n += 1) mkdirSync(path.join(scratch, `data/c/${n}`))
  await start()
  const [title = '', ...columns] = latencies.head
  row(title, ...columns)
  {
    using container = await Container.start(scratch)
    let before = 0
    for (const standing of new Set([1, 100, MOST])) {
      const begun = performance.now()
      await fill(before, standing)
      if (standing === MOST)
        tell(
          figures,
          `seconds to give ${standing - before} grants`,
          (performance.now() - begun) / 1_000,
        )
      before = standing
      await new Promise((resolve) => setTimeout(resolve, REFILL_MS))
      await waysWith(standing, container)
    }
    const descriptors = readdirSync(`/proc/${child?.pid}/fd`).length
    tell(figures, `descriptors of the daemon, with ${MOST} grants`, String(descriptors))
    await besideGrants()
  }
  await stop()
  const { ms, restored, failed } = await start()
  const name = `ms until ${MOST} grants are back after a restart`
  tell(figures, name, `${Math.round(ms)} (${restored} back, ${failed} not)`)
  if (DOCS) writeBrokerDocs([latencies, figures])
} finally {
  agent.destroy()
  await stop()
  spawnSync('umount', ['-l', path.join(scratch, 'mount')])
  rmSync(scratch, { recursive: true, force: true })
}
