/** Small pieces that the benchmarks share: medians, turns, a mount of the checkout's own insitu. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

/** One line of a table: a name, then columns. */
export function row(name: string, ...columns: (string | number)[]): void {
  const cells = columns.map((cell) =>
    (typeof cell === 'number' ? cell.toFixed(2) : cell).padStart(14),
  )
  console.log(name.padEnd(44) + cells.join(''))
}

export interface BenchMount extends AsyncDisposable {
  readonly scratch: string
  readonly backing: string
  readonly mountPoint: string
  readonly daemonPid: number
}

/** Mounts a fresh directory with `bin/insitu mount --detach`; disposing unmounts and removes it. */
export async function mountFresh(...options: string[]): Promise<BenchMount> {
  const scratch = mkdtempSync(path.join(tmpdir(), 'insitu-bench-'))
  const backing = path.join(scratch, 'backing')
  const mountPoint = path.join(scratch, 'mount')
  mkdirSync(backing)
  mkdirSync(mountPoint)
  const insitu = path.join(root, 'bin/insitu')
  const state = path.join(scratch, 'state')
  await run(insitu, ['mount', backing, mountPoint, '--detach', '--state', state, ...options])
  const { stdout } = await run(insitu, ['status', '--json'])
  const mounts = JSON.parse(stdout) as { mountPoint: string; pid: number }[]
  const mine = mounts.find((mount) => mount.mountPoint === mountPoint)
  return {
    scratch,
    backing,
    mountPoint,
    daemonPid: mine?.pid ?? 0,
    async [Symbol.asyncDispose]() {
      await run(insitu, ['unmount', mountPoint])
      rmSync(scratch, { recursive: true, force: true })
    },
  }
}

/** Builds a C++ program of this folder into `folder` and returns its path. */
export function compile(source: string, folder: string): string {
  const program = path.join(folder, path.basename(source, '.cc'))
  const file = path.join(root, 'scripts/bench', source)
  execFileSync('g++', ['-std=c++20', '-D_GNU_SOURCE', '-O2', file, '-o', program])
  return program
}

/** Resident memory of a process in MiB. */
export function residentMiB(status: string): number {
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
}
