/** A mount of a fresh directory, served by a child process (serve-grafts.ts), and trees to graft. */
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'

import type { ProgramSummary } from '../../src/compute/types.ts'
import type { Statistics } from '../../src/file-server/types.ts'
import { preloadedEnvironment } from './preload.ts'
import { whyNoFuse } from './scratch-mount.ts'

export interface GraftMountOptions {
  readonly exclusive?: boolean
  /** The folder that the scratch folder is made in; tells the backing filesystem. */
  readonly below?: string
  /** Soft limit of descriptors of the server. */
  readonly descriptors?: number
  /** With programs: the engine, the sandbox, and virtual files. */
  readonly compute?: boolean
}

export interface GraftRequest {
  /** Of the volume, or of the graft `within`. */
  readonly at?: string
  readonly within?: number
  readonly name: string
  readonly backing: string
  /** Below it; only in the volume. */
  readonly subpath?: string
  readonly readOnly?: boolean
  readonly revocable?: boolean
  readonly quotaBytes?: number
  readonly compute?: boolean
  readonly identity?: string
}

export type GraftCommand =
  | ({ readonly do: 'graft' } & GraftRequest)
  | { readonly do: 'revoke'; readonly graft: number }
  | { readonly do: 'programs' }
  | { readonly do: 'keyOf'; readonly at: string }
  | { readonly do: 'statistics' }

/** What the server refused, as it came over. */
export class Refused extends Error {
  readonly code: string

  constructor({ code = '', text }: { code?: string; text: string }) {
    super(text)
    this.code = code
  }
}

export interface GraftMount extends AsyncDisposable {
  readonly scratch: string
  readonly backing: string
  readonly mountPoint: string
  readonly child: ChildProcess
  /** A fresh directory beside the backing one. */
  tree(name: string): string
  /** The same, with a filesystem of its own. */
  tmpfs(name: string): string
  graft(request: GraftRequest): Promise<number>
  revoke(graft: number): Promise<void>
  statistics(): Promise<Statistics>
  /** What is attached, where it is now. */
  programs(): Promise<ProgramSummary[]>
  /** Of a path in the mount. */
  keyOf(at: string): Promise<string>
  /** Ends the server, by SIGKILL if `killed`, and starts another one over the same directories and state. */
  restart(killed?: boolean): Promise<void>
  /** Messages of the log, those of servers that ended included. */
  readonly log: readonly string[]
  close(): Promise<void>
}

const server = fileURLToPath(new URL('serve-grafts.ts', import.meta.url))

export async function graftMount(options: GraftMountOptions = {}): Promise<GraftMount> {
  const scratch = mkdtempSync(path.join(options.below ?? tmpdir(), 'insitu-grafts-'))
  const tree = (name: string): string => {
    const folder = path.join(scratch, name)
    mkdirSync(folder)
    return folder
  }
  const mounted: string[] = []
  const tmpfs = (name: string): string => {
    const folder = tree(name)
    const done = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'insitu-test', folder])
    if (done.status !== 0) throw new Error(`no tmpfs: ${done.stderr.toString()}`)
    mounted.push(folder)
    return folder
  }
  const [backing, mountPoint, state] = [tree('backing'), tree('mount'), tree('state')]
  const log: string[] = []
  let served: Served | undefined
  const start = async (): Promise<void> => {
    served = await serve([backing, mountPoint, state], options, log)
  }
  const stop = async (killed: boolean): Promise<void> => {
    await served?.end(killed)
    served = undefined
    // Only after a crash is there anything left to detach.
    spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
  }
  const close = async (): Promise<void> => {
    await stop(false)
    for (const folder of mounted.toReversed()) spawnSync('umount', ['-l', folder])
    rmSync(scratch, { recursive: true, force: true })
  }
  let closed: Promise<void> | undefined
  const closeOnce = (): Promise<void> => (closed ??= close())
  try {
    await start()
  } catch (error) {
    await closeOnce()
    throw error
  }
  const running = (): Served => {
    if (served === undefined) throw new Error('no server runs')
    return served
  }
  const ask = (command: GraftCommand): Promise<unknown> => running().ask(command)
  return {
    scratch,
    backing,
    mountPoint,
    get child() {
      return running().child
    },
    log,
    tree,
    tmpfs,
    graft: async (request) => (await ask({ do: 'graft', ...request })) as number,
    revoke: async (graft) => void (await ask({ do: 'revoke', graft })),
    statistics: async () => (await ask({ do: 'statistics' })) as Statistics,
    programs: async () => (await ask({ do: 'programs' })) as ProgramSummary[],
    keyOf: async (at) => (await ask({ do: 'keyOf', at })) as string,
    restart: async (killed = false) => {
      await stop(killed)
      await start()
    },
    close: closeOnce,
    [Symbol.asyncDispose]: closeOnce,
  }
}

interface Served {
  readonly child: ChildProcess
  ask(command: GraftCommand): Promise<unknown>
  end(killed: boolean): Promise<void>
}

async function serve(
  folders: readonly string[],
  options: GraftMountOptions,
  log: string[],
): Promise<Served> {
  const limit = options.descriptors
  const [program, args] =
    limit === undefined
      ? [process.execPath, []]
      : ['prlimit', [`--nofile=${limit}:${limit}`, process.execPath]]
  const child = fork(server, [...folders, JSON.stringify(options)], {
    execPath: program,
    execArgv: args,
    env: preloadedEnvironment(),
  })
  const waiting = new Map<number, PromiseWithResolvers<unknown>>()
  const ready = Promise.withResolvers<unknown>()
  waiting.set(0, ready)
  child.on(
    'message',
    (answer: { id: number; result: unknown; error?: { text: string }; log?: string }) => {
      if (answer.log !== undefined) return void log.push(answer.log)
      const promise = waiting.get(answer.id)
      waiting.delete(answer.id)
      if (answer.error === undefined) promise?.resolve(answer.result)
      else promise?.reject(new Refused(answer.error))
    },
  )
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  void exited.then(() => {
    for (const promise of waiting.values()) promise.reject(new Error('the server ended'))
  })
  let last = 0
  const served: Served = {
    child,
    ask: async (command) => {
      const promise = Promise.withResolvers<unknown>()
      waiting.set(++last, promise)
      child.send({ id: last, ...command })
      return promise.promise
    },
    end: async (killed) => {
      if (killed) child.kill('SIGKILL')
      else if (child.connected) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
      await exited
      clearTimeout(timer)
    },
  }
  try {
    await ready.promise
  } catch (error) {
    await served.end(true)
    throw error
  }
  return served
}

/** As mountSuite, for mounts that have grafts; those need root. */
export function graftSuite(title: string): {
  (name: string, body: (mount: GraftMount) => Promise<void>, options?: GraftMountOptions): void
  run(): void
} {
  const test = suite(title)
  const reason = process.getuid?.() === 0 ? whyNoFuse() : 'not root'
  if (reason !== undefined) {
    console.log(`SKIP ${title}: ${reason}`)
    test('is skipped', () => undefined)
  }
  const add = (
    name: string,
    body: (mount: GraftMount) => Promise<void>,
    options: GraftMountOptions = {},
  ): void => {
    if (reason !== undefined) return
    test(name, async () => {
      await using mount = await graftMount(options)
      await body(mount)
    })
  }
  return Object.assign(add, { run: () => test.run() })
}
