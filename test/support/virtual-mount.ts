/** A mount with toy virtual files (serve-virtual.ts), served by a child process. */
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { preloadedEnvironment } from './preload.ts'

export interface ToyOptions {
  readonly exclusive?: boolean
  /** The folder that the scratch folder is made in; tells the backing filesystem. */
  readonly below?: string
}

/** Everything that is set happens, in this order; the answer is a `ToyReport`. */
export interface ToyCommand {
  /** Permission bits of results from now on. */
  readonly mode?: number
  /** What a resolve does from now on; what is held goes on. */
  readonly resolve?: 'run' | 'hold' | 'fail'
  /** So many sets are withdrawn just before their looker gets the answer. */
  readonly withdraw?: number
  /** Of the volume: where the following is done. */
  readonly at?: string
  readonly program?: string
  readonly detach?: boolean
  readonly run?: boolean
  /** Removes the files of the published set from the store. */
  readonly sweep?: boolean
  /** Answer with the program instead. */
  readonly source?: boolean
}

export interface ToyReport {
  /** Requests since the last report, `… aborted` among them. */
  readonly seen: string[]
  readonly runs: number
  readonly handles: number
  readonly statistics: {
    readonly operations: Readonly<Record<string, number>>
    readonly waiting: number
    readonly nodes: number
    readonly openHandles: number
    readonly backingIds: number
    readonly virtualRequests: number
  }
}

export interface VirtualMount extends AsyncDisposable {
  readonly backing: string
  readonly mountPoint: string
  readonly child: ChildProcess
  command(command: ToyCommand): Promise<ToyReport>
  source(at?: string): Promise<string>
}

const server = fileURLToPath(new URL('serve-virtual.ts', import.meta.url))

export async function virtualMount(options: ToyOptions = {}): Promise<VirtualMount> {
  const scratch = mkdtempSync(path.join(options.below ?? tmpdir(), 'insitu-virtual-'))
  const [backing, mountPoint, store] = ['backing', 'mount', 'store'].map((name) => {
    const folder = path.join(scratch, name)
    mkdirSync(folder)
    return folder
  }) as [string, string, string]
  const child = fork(server, [backing, mountPoint, store, JSON.stringify(options)], {
    env: preloadedEnvironment(),
  })
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  const ready = Promise.withResolvers<unknown>()
  waiting.set(0, ready)
  child.on('message', ({ id, result, error }: { id: number; result: unknown; error?: string }) => {
    const promise = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) promise?.resolve(result)
    else promise?.reject(new Error(error))
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  void exited.then(() => {
    for (const promise of waiting.values()) promise.reject(new Error('the server ended'))
  })
  const close = async (): Promise<void> => {
    if (child.connected) child.disconnect()
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await exited
    clearTimeout(timer)
    // Only after a crash is there anything left to detach.
    spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
    rmSync(scratch, { recursive: true, force: true })
  }
  try {
    await ready.promise
  } catch (error) {
    await close()
    throw error
  }
  let last = 0
  const ask = (command: ToyCommand): Promise<unknown> => {
    const promise = Promise.withResolvers<unknown>()
    waiting.set(++last, promise)
    child.send({ id: last, ...command })
    return promise.promise
  }
  return {
    backing,
    mountPoint,
    child,
    command: async (command) => (await ask(command)) as ToyReport,
    source: async (at = '') => (await ask({ at, source: true })) as string,
    [Symbol.asyncDispose]: close,
  }
}
