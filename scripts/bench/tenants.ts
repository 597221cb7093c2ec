/**
 * What many tenants cost on one daemon: time until all are served, memory and threads of each, and
 * operations on one of them against a daemon beside it that has one tenant alone. Arguments: how many (500).
 */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const INSITU = fileURLToPath(new URL('../../bin/insitu', import.meta.url))
const many = Number(process.argv[2] ?? 500)
const scratch = mkdtempSync(path.join(tmpdir(), 'insitu-bench-tenants-'))

const ROUNDS = 5

type Rates = Pick<Measured, 'stat' | 'create' | 'read'>

interface Measured {
  readonly tenants: number
  readonly readyMs: number
  readonly grantMs: number
  readonly residentMiB: number
  readonly threads: number
  /** Operations a second. */
  readonly stat: number
  readonly create: number
  readonly read: number
}

function configure(count: number): string {
  const tenants = Array.from({ length: count }, (_, at) => `  t${at}: { ids: ${100_000 + at} }\n`)
  const volumes = Array.from({ length: count }, (_, at) => {
    mkdirSync(path.join(scratch, 'volumes', `v${at}`), { recursive: true })
    return `  v${at}: { path: ${scratch}/volumes/v${at} }\n`
  })
  const file = path.join(scratch, `${count}.yaml`)
  writeFileSync(
    file,
    `state: ${scratch}/state-${count}\nruntime: ${scratch}/run-${count}
tenants:\n${tenants.join('')}volumes:\n${volumes.join('')}
policies: { all: { tenants: ["*"], volumes: { names: ["*"] }, modes: [rw] } }\n`,
  )
  return file
}

function post(socketPath: string, body: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' }
    const call = request({ socketPath, path: '/mount', method: 'POST', headers }, (response) => {
      response.resume()
      if (response.statusCode === 200 || response.statusCode === 201) response.on('end', resolve)
      else reject(new Error(`the grant gave ${response.statusCode}`))
    })
    call.on('error', reject)
    call.end(JSON.stringify(body))
  })
}

/** In a process of its own; the median of five rounds, operations a second. */
function operations(directory: string): Rates {
  const script = `
    const fs = require('fs'), dir = process.argv[1]
    const median = (work, n) => {
      const rates = []
      for (let round = 0; round < 5; round++) {
        const from = performance.now()
        for (let i = 0; i < n; i++) work(round * n + i)
        rates.push(n / (performance.now() - from) * 1000)
      }
      return rates.sort((a, b) => a - b)[2]
    }
    fs.writeFileSync(dir + '/f', 'x'.repeat(4096))
    const create = median((i) => fs.closeSync(fs.openSync(dir + '/c' + process.pid + i, 'w')), 1000)
    const stat = median((i) => fs.statSync(dir + '/c' + process.pid + (i % 1000)), 5000)
    const read = median(() => fs.readFileSync(dir + '/f'), 2000)
    console.log(JSON.stringify({ stat, create, read }))`
  const out = execFileSync(process.execPath, ['-e', script, directory], { encoding: 'utf8' })
  return JSON.parse(out) as Rates
}

function residentMiB(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

interface Daemon {
  readonly cost: Omit<Measured, 'stat' | 'create' | 'read'>
  readonly home: string
  stop(): Promise<void>
}

async function start(count: number): Promise<Daemon> {
  const file = configure(count)
  const run = path.join(scratch, `run-${count}`)
  const from = performance.now()
  const child = spawn(INSITU, ['serve', '-c', file, '--log-level', 'error'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
  })
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await ended
  }
  try {
    await Promise.race([
      new Promise((resolve) => child.stdout.once('data', resolve)),
      ended.then(() => Promise.reject(new Error('serve ended'))),
    ])
    const readyMs = performance.now() - from
    const granting = performance.now()
    for (let at = 0; at < count; at += 1)
      await post(path.join(run, `tenants/t${at}/api.sock`), {
        volume: `v${at}`,
        at: 'data',
        mode: 'rw',
      })
    const grantMs = (performance.now() - granting) / count
    const pid = child.pid ?? 0
    const threads = readdirSync(`/proc/${pid}/task`).length
    const cost = { tenants: count, readyMs, grantMs, residentMiB: residentMiB(pid), threads }
    return { cost, home: path.join(run, 'homes/t0'), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Of the rounds, which take turns so that the machine's moods are everybody's. */
function middle(rounds: readonly Rates[]): Rates {
  const of = (key: keyof Rates): number =>
    rounds.map((each) => each[key]).toSorted((a, b) => a - b)[rounds.length >> 1] ?? NaN
  return { stat: of('stat'), create: of('create'), read: of('read') }
}

async function measure(): Promise<readonly [Measured, Measured]> {
  const one = await start(1)
  try {
    const all = await start(many)
    try {
      const rounds = Array.from(
        { length: ROUNDS },
        () => [operations(one.home), operations(all.home)] as const,
      )
      return [
        { ...one.cost, ...middle(rounds.map(([each]) => each)) },
        { ...all.cost, ...middle(rounds.map(([, each]) => each)) },
      ]
    } finally {
      await all.stop()
    }
  } finally {
    await one.stop()
  }
}

try {
  const [one, all] = await measure()
  const round = (value: number): string => value.toFixed(value < 10 ? 2 : 0)
  console.log(`                      1 tenant   ${many} tenants`)
  for (const key of ['readyMs', 'grantMs', 'residentMiB', 'threads'] as const)
    console.log(`${key.padEnd(20)} ${round(one[key]).padStart(9)} ${round(all[key]).padStart(9)}`)
  for (const key of ['stat', 'create', 'read'] as const)
    console.log(
      `${`${key}, ops/s`.padEnd(20)} ${round(one[key]).padStart(9)} ${round(all[key]).padStart(9)}   ratio ${round(all[key] / one[key])}`,
    )
  const each = ((all.residentMiB - one.residentMiB) / (many - 1)) * 1024
  console.log(`memory of a tenant   ${round(each)} KiB`)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
