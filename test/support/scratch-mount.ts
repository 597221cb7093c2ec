/**
 * A mount of a fresh directory, served by a child process, so that a test may touch it as freely as
 * any program would. Ordinary files only: there is no compute behind it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { preloadedEnvironment } from './preload.ts'

export interface ScratchMountOptions {
  readonly exclusive?: boolean
  readonly passthrough?: boolean
  readonly listReserved?: boolean
  readonly sharedBacking?: boolean
  /** The folder that the scratch folder is made in; tells the backing filesystem. */
  readonly below?: string
  /** Instead of a fresh one in the scratch folder; it stays. */
  readonly backing?: string
  /** Libraries that the server is started with. */
  readonly preload?: readonly string[]
}

export interface ScratchMount extends AsyncDisposable {
  readonly scratch: string
  readonly backing: string
  readonly mountPoint: string
  readonly child: ChildProcess
  /** Unmounts and removes all; the same as disposing. */
  close(): Promise<void>
}

const server = fileURLToPath(new URL('serve-mount.ts', import.meta.url))

/** Why mounts cannot be had here; undefined when they can. Fails instead where REQUIRE_FUSE=1. */
export function whyNoFuse(): string | undefined {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return undefined
  } catch {
    if (process.env['REQUIRE_FUSE'] === '1') throw new Error('/dev/fuse cannot be opened')
    return '/dev/fuse cannot be opened'
  }
}

/** Mounts; every test that does so closes it, also when it fails (`await using`). */
export async function scratchMount(options: ScratchMountOptions = {}): Promise<ScratchMount> {
  const scratch = mkdtempSync(path.join(options.below ?? tmpdir(), 'insitu-test-'))
  const backing = options.backing ?? path.join(scratch, 'backing')
  const mountPoint = path.join(scratch, 'mount')
  mkdirSync(backing, { recursive: true })
  mkdirSync(mountPoint)
  try {
    const served = await serveAt(backing, mountPoint, options)
    const close = async (): Promise<void> => {
      await served.close()
      rmSync(scratch, { recursive: true, force: true })
    }
    return {
      scratch,
      backing,
      mountPoint,
      child: served.child,
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    rmSync(scratch, { recursive: true, force: true })
    throw error
  }
}

export interface Served extends AsyncDisposable {
  readonly child: ChildProcess
  close(): Promise<void>
}

/** Mounts one existing directory at another, until closed. */
export async function serveAt(
  backing: string,
  mountPoint: string,
  options: ScratchMountOptions = {},
): Promise<Served> {
  const child = spawn(process.execPath, [server, backing, mountPoint, JSON.stringify(options)], {
    env: preloadedEnvironment(...(options.preload ?? [])),
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const close = async (): Promise<void> => {
    child.stdin.end()
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await exited
    clearTimeout(timer)
    // Only after a crash is there anything left to detach.
    spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
  }
  const ready = await Promise.race([
    createInterface(child.stdout)[Symbol.asyncIterator]().next(),
    exited.then(() => ({ done: true as const })),
  ])
  if (ready.done) {
    await close()
    throw new Error('the mount did not come up')
  }
  return { child, close, [Symbol.asyncDispose]: close }
}
