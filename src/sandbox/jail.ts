/**
 * Starts a program in the jail: our launcher takes an unprivileged identity, low limits and the first
 * seccomp filter, then bubblewrap makes namespaces and an almost empty tree (docs/sandbox.md).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, closeSync, constants, existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { addon } from '../addon/index.ts'
import type { NativeProcess } from '../addon/sandbox.ts'
import {
  type Bind,
  launcherPath,
  LIBRARIES,
  libraryBinds,
  NODE,
  workerBinds,
  workerMainOutside,
} from './jail-tree.ts'
import type { RunLimits, SandboxOptions } from './types.ts'

/** After the program's own: 0 to 2, and 3, its socket. Bubblewrap uses these up. */
const INFO_FD = 4
const FILTER_FD = 5

/** Workers of a root daemon are uid and gid 60000 + slot, a range that Debian leaves alone. No two
 * live workers share one, so that not even the kernel's per-user accounts are shared. */
const FIRST_WORKER_ID = 60_000

/** Where the launcher, as root, gathers what is bound: any folder does, nobody else sees it there. */
const STAGE = '/tmp'

/** Node's flags in a worker. The snapshot does not work with isolated-vm; the heap is the trusted
 * half's own, not the guest's; two helper threads for two cores' worth of collecting. */
const NODE_FLAGS = ['--no-node-snapshot', '--max-old-space-size=128', '--v8-pool-size=2']

const ENVIRONMENT: Readonly<Record<string, string>> = {
  LD_LIBRARY_PATH: LIBRARIES,
  TZ: 'UTC',
  LANG: 'C.UTF-8',
  UV_THREADPOOL_SIZE: '1',
}

const NAMESPACES = ['--unshare-all', '--die-with-parent', '--new-session', '--as-pid-1']

export type Jail = SandboxOptions['jail']

export interface Launched {
  /** Bubblewrap, which ends with the program and passes on its status; without a jail the program. */
  readonly child: ChildProcess
  /** The daemon's end of the program's descriptor 3; the receiver closes it. */
  readonly socketFd: number
  /** The program itself. Rejects when it never came to life. */
  readonly process: Promise<NativeProcess>
  /** Kills what was started. Until `process` is known this is the only way: killed alone, bubblewrap may
   * leave a child behind that waits for its word for ever. */
  kill(): void
}

export interface Program {
  readonly jail: Jail
  /** As the program sees it. */
  readonly path: string
  readonly args: readonly string[]
  readonly binds: readonly Bind[]
  /** Picks its uid when the daemon is root. */
  readonly slot: number
  /** A descriptor for its standard error, or a pipe of the child's. */
  readonly stdout: 'ignore' | 'pipe'
  readonly stderr: number | 'pipe'
}

export class JailError extends Error {
  override readonly name = 'JailError'
}

/** The worker, with an isolate for `limits` in waiting. */
export function launchWorker(
  jail: Jail,
  slot: number,
  limits: RunLimits,
  stderr: number,
): Launched {
  const inside = jail === 'bubblewrap'
  const { binds, main } = workerTree()
  return launch({
    jail,
    path: inside ? NODE : process.execPath,
    args: [
      ...NODE_FLAGS,
      inside ? main : workerMainOutside,
      JSON.stringify(limits),
      inside ? 'own-user-namespace' : 'shared-user-namespace',
    ],
    binds,
    slot,
    stdout: 'ignore',
    stderr,
  })
}

/**
 * Any program of the host in a worker's place, same jail, same first filter; it finds itself at
 * /insitu/program. (A worker's second filter is the worker's own act: see native/sandbox/seccomp.h.)
 */
export function launchJailed(options: {
  readonly program: string
  readonly args: readonly string[]
  readonly slot?: number
}): Launched {
  const target = '/insitu/program'
  return launch({
    jail: 'bubblewrap',
    path: target,
    args: options.args,
    binds: [{ source: realpathSync(options.program), target }],
    slot: options.slot ?? 900,
    stdout: 'pipe',
    stderr: 'pipe',
  })
}

export function launch(program: Program): Launched {
  const [socketFd, workerEnd] = addon.sandbox.socketPair()
  try {
    const child = spawn(launcherPath, launcherArguments(program), {
      stdio: ['ignore', program.stdout, program.stderr, workerEnd, 'pipe'],
      env: program.jail === 'bubblewrap' ? {} : { ...ENVIRONMENT, LD_LIBRARY_PATH: '' },
      cwd: '/',
      detached: true, // a process group of its own
    })
    const found = findProcess(child, program)
    found.catch(() => undefined) // whoever wants to know asks
    return { child, socketFd, process: found, kill: () => killGroup(child) }
  } catch (error) {
    closeSync(socketFd)
    throw error
  } finally {
    closeSync(workerEnd)
  }
}

function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  // Once it was waited for, the number may be another's.
  if (pid === undefined || exitCode !== null || signalCode !== null) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function launcherArguments(program: Program): string[] {
  const args = ['--parent', String(process.pid)]
  if (program.jail === 'unsafe-none')
    return [...args, '--filter-self', '--', program.path, ...program.args]
  const bubblewrap = findBubblewrap()
  if (bubblewrap === undefined) throw new JailError(NO_BUBBLEWRAP)
  const id = String(workerId(program.slot))
  if (id !== '0') {
    args.push('--identity', id, id, '--stage', STAGE)
  }
  for (const bind of [...libraryTree(), ...program.binds])
    args.push('--bind', bind.source, bind.target)
  args.push('--filter', String(FILTER_FD), '--', bubblewrap, ...NAMESPACES)
  args.push('--cap-drop', 'ALL', '--hostname', 'worker', '--clearenv')
  for (const [name, value] of Object.entries(ENVIRONMENT)) args.push('--setenv', name, value)
  args.push('--info-fd', String(INFO_FD), '--seccomp', String(FILTER_FD))
  args.push('--remount-ro', '/', '--chdir', '/', '--', program.path, ...program.args)
  return args
}

/** Its uid and gid; 0: the daemon has only its own to give. */
function workerId(slot: number): number {
  return process.geteuid?.() === 0 ? FIRST_WORKER_ID + slot : 0
}

/** Bubblewrap tells on its info descriptor which process its child is, before it lets it go on. */
async function findProcess(child: ChildProcess, program: Program): Promise<NativeProcess> {
  const info = child.stdio[INFO_FD] as Readable
  if (child.pid === undefined) {
    const [error] = await new Promise<unknown[]>((resolve) =>
      child.once('error', (...args: unknown[]) => resolve(args)),
    )
    throw new JailError(`the launcher does not start: ${String(error)}`)
  }
  if (program.jail === 'unsafe-none') {
    info.destroy()
    return new addon.sandbox.Process(child.pid, 0)
  }
  let text = ''
  try {
    for await (const part of info) text += String(part)
  } catch {
    // As if it had ended: what came decides.
  }
  const pid = /"child-pid":\s*(\d+)/.exec(text)?.[1]
  if (pid === undefined) throw new JailError('bubblewrap made no jail')
  return new addon.sandbox.Process(Number(pid), workerId(program.slot))
}

export const NO_BUBBLEWRAP =
  'there is no bubblewrap here, so programs cannot be jailed: install the package "bubblewrap", ' +
  'or accept programs without a jail with --unsafe-no-jail'

export function findBubblewrap(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/bin', '/usr/local/bin']
  for (const folder of folders) {
    const file = path.join(folder, 'bwrap')
    if (!path.isAbsolute(file) || !existsSync(file)) continue
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not this one.
    }
  }
  return undefined
}

let libraries: Bind[] | undefined
function libraryTree(): Bind[] {
  libraries ??= libraryBinds()
  return libraries
}

let worker: ReturnType<typeof workerBinds> | undefined
function workerTree(): ReturnType<typeof workerBinds> {
  worker ??= workerBinds()
  return worker
}
