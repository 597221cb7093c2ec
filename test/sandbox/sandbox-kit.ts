/** What the sandbox's own tests share: a sandbox to throw away, requests, inputs from a table. */
import { execFile } from 'node:child_process'
import {
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { VfsError } from '../../src/errors.ts'
import { createSandbox } from '../../src/sandbox/index.ts'
import type {
  RunInputs,
  RunLimits,
  RunOutcome,
  RunRequest,
  Sandbox,
  SandboxOptions,
} from '../../src/sandbox/types.ts'

const MiB = 1024 * 1024

// With its first pipe libuv opens a descriptor for good; now, so that it is not taken for a leak.
await promisify(execFile)('true')

export const LIMITS: RunLimits = {
  wallMs: 30_000,
  cpuMs: 30_000,
  memoryBytes: 128 * MiB,
  outputBytes: 4 * MiB,
  resultFiles: 100,
  logBytes: 64 * 1024,
  programBytes: 128 * 1024,
  inputs: 1_000,
}

export const OPTIONS: SandboxOptions = {
  jail: 'bubblewrap',
  maxWorkers: 2,
  idleWorkers: 1,
  queuedRuns: 10,
  idleMs: 60_000,
  warmLimits: LIMITS,
}

export type Launch = NonNullable<Parameters<typeof createSandbox>[1]>

/** Gives `use` a sandbox, closes it, and fails when it left a process or a descriptor behind. */
export async function withSandbox(
  options: Partial<SandboxOptions>,
  use: (sandbox: Sandbox) => Promise<void>,
  launch?: Launch,
): Promise<void> {
  const spoolDirectory = mkdtempSync(path.join(os.tmpdir(), 'insitu-sandbox-'))
  const before = descriptors()
  const sandbox = createSandbox({ ...OPTIONS, spoolDirectory, ...options }, launch)
  try {
    await use(sandbox)
  } finally {
    await sandbox.close()
    await nextTurn()
    rmSync(spoolDirectory, { recursive: true })
  }
  const left = descendants(process.pid)
  if (left.length > 0) throw new Error(`processes are left: ${left.join(', ')}`)
  const after = descriptors()
  const open = after.filter((name) => !before.includes(name))
  if (open.length > 0) throw new Error(`descriptors are left: ${open.join(', ')}`)
}

export function request(source: string, more: Partial<RunRequest> = {}): RunRequest {
  return {
    tenant: 'tenant',
    principal: { uid: 1000, gid: 1000, groups: [] },
    source: Buffer.from(source),
    library: undefined,
    seed: Buffer.alloc(32, 7),
    nowMs: 1_700_000_000_000,
    limits: LIMITS,
    inputs: tableInputs({}),
    onLog: () => undefined,
    ...more,
  }
}

const inputFolder = mkdtempSync(path.join(os.tmpdir(), 'insitu-inputs-'))
process.once('exit', () => rmSync(inputFolder, { recursive: true, force: true }))

/** Inputs by name, each a file of its own. */
export function tableInputs(table: Readonly<Record<string, string>>): RunInputs {
  const folder = mkdtempSync(path.join(inputFolder, 'table-'))
  for (const [name, text] of Object.entries(table)) writeFileSync(path.join(folder, name), text)
  const found = (name: string): string => {
    const text = Object.hasOwn(table, name) ? table[name] : undefined
    if (text === undefined) throw new VfsError('ENOENT', `${name} is not there`)
    return text
  }
  return {
    open: async (name) => {
      const sizeBytes = Buffer.byteLength(found(name))
      return { fd: openSync(path.join(folder, name), 'r'), sizeBytes, mtimeNs: 5_000_000n }
    },
    stat: async (name) => {
      if (name === '') return { kind: 'directory', sizeBytes: 0, mtimeNs: 0n }
      return { kind: 'file', sizeBytes: Buffer.byteLength(found(name)), mtimeNs: 5_000_000n }
    },
    list: async () => Object.keys(table).map((name) => ({ name, kind: 'file' })),
  }
}

/** Results as text by name; a spool file is read and closed. */
export function resultsOf(outcome: RunOutcome): Record<string, string> {
  if (outcome.status !== 'ok') throw new Error(JSON.stringify(outcome))
  const spool = outcome.spoolFd === undefined ? undefined : readFileSync(outcome.spoolFd)
  const texts: Record<string, string> = {}
  for (const result of outcome.results) {
    if ('bytes' in result) texts[result.name] = Buffer.from(result.bytes).toString()
    else {
      const { offset, sizeBytes } = result.spool
      texts[result.name] = spool?.toString('utf8', offset, offset + sizeBytes) ?? ''
    }
  }
  return texts
}

/** Descriptors of this process with what they lead to, but for what the tests' own reading makes. */
export function descriptors(): string[] {
  const names: string[] = []
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      if (!target.startsWith('/proc/')) names.push(`${fd} ${target}`)
    } catch {
      // The directory's own.
    }
  }
  return names
}

/** All processes below `pid`, by /proc. */
export function descendants(pid: number): number[] {
  const found: number[] = []
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    let children = ''
    try {
      children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')
    } catch {
      continue
    }
    for (const child of children.split(' ').filter(Boolean).map(Number)) {
      found.push(child)
      try {
        found.push(...descendants(child))
      } catch {
        // It ended meanwhile.
      }
    }
  }
  return found
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20))
}

export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000; i += 1) {
    if (holds()) return
    await nextTurn()
  }
  throw new Error(`it never came to be: ${what}`)
}
