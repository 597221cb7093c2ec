/** Builds the native attacks and runs them in a worker's place. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { addon } from '../../../src/addon/index.ts'
import { launchJailed } from '../../../src/sandbox/jail.ts'

const exec = promisify(execFile)
const here = fileURLToPath(new URL('.', import.meta.url))
const native = fileURLToPath(new URL('../../../native', import.meta.url))

/** Static, because the jail's tree has only the libraries that Node needs. */
export async function buildAttacks(folder: string): Promise<string> {
  const program = path.join(folder, 'attack')
  const sources = readdirSync(here).filter((name) => name.endsWith('.cc'))
  await exec('g++', [
    '-std=c++20',
    '-O1',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-static',
    '-pthread',
    `-I${native}`,
    `-I${here}`,
    '-o',
    program,
    ...sources.map((name) => path.join(here, name)),
    path.join(native, 'sandbox', 'seccomp.cc'),
  ])
  return program
}

export interface JailedRun {
  /** What each attempt came to: an errno's name, `done`, or `killed` by the filter. */
  readonly attempts: ReadonlyMap<string, string>
  /** Bubblewrap passes on its child's status; 128 and the number for a signal. */
  readonly status: number | null
}

export interface JailedOptions {
  readonly names: readonly string[]
  /** Off: what namespaces, the tree and the launch filter refuse by themselves. */
  readonly workerFilter?: boolean
  /** Both are taken over. */
  readonly inputFd?: number
  readonly spoolFd?: number
  readonly dataBytes?: number
  readonly fileSizeBytes?: number
  /** Called with each frame that the program sends. */
  readonly onFrame?: (frame: Buffer) => void
  /** Called until the program has ended. */
  readonly watch?: (usage: { residentBytes: number }) => 'go on' | 'kill'
}

const SIGSYS = 31

export async function runJailed(program: string, options: JailedOptions): Promise<JailedRun> {
  const flags: string[] = []
  if (options.inputFd !== undefined) flags.push('--input')
  if (options.spoolFd !== undefined) flags.push('--spool')
  if (options.workerFilter === false) flags.push('--no-worker-filter')
  const launched = launchJailed({ program, args: [...flags, ...options.names] })
  const channel = new addon.sandbox.Channel(
    launched.socketFd,
    options.onFrame ?? (() => {}),
    () => {},
  )
  const ended = new Promise<number | null>((resolve) => launched.child.once('close', resolve))
  const output = launched.child.stdout === null ? '' : text(launched.child.stdout)
  const errors = launched.child.stderr === null ? '' : text(launched.child.stderr)
  const jailed = await launched.process
  if (options.dataBytes !== undefined) {
    jailed.limit('data', jailed.memory().dataBytes + options.dataBytes)
  }
  if (options.fileSizeBytes !== undefined) jailed.limit('fileSize', options.fileSizeBytes)
  if (options.inputFd !== undefined) channel.send(Buffer.from('i'), options.inputFd)
  if (options.spoolFd !== undefined) channel.send(Buffer.from('s'), options.spoolFd)
  const deadline = setTimeout(() => jailed.kill(), 30_000)
  const watcher = setInterval(() => {
    if (options.watch?.(jailed.memory()) === 'kill') jailed.kill()
  }, 10)
  try {
    const status = await ended
    const attempts = new Map<string, string>()
    for (const line of (await output).split('\n')) {
      const [name = '', verdict, detail = ''] = line.split(' ')
      if (name === '') continue
      const stopped = status === 128 + SIGSYS ? 'killed' : `ended with ${status} ${await errors}`
      attempts.set(name, verdict === undefined ? stopped : verdict === 'done' ? 'done' : detail)
    }
    return { attempts, status }
  } finally {
    clearTimeout(deadline)
    clearInterval(watcher)
    channel.close()
    jailed.close()
  }
}
