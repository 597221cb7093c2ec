/** What this machine offers for a jail: for `insitu doctor`, and for saying why programs do not run. */
import { execFile } from 'node:child_process'
import { closeSync, existsSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { findBubblewrap, launchJailed, NO_BUBBLEWRAP } from './jail.ts'
import { launcherPath } from './jail-tree.ts'

const run = promisify(execFile)

const PROBE_MS = 10_000

export interface JailReport {
  /** A program was started in a jail just now, and ran. */
  readonly usable: boolean
  /** Why not, and what to do; undefined when it is usable. */
  readonly obstacle: string | undefined
  readonly bubblewrap: { readonly path: string; readonly version: string } | undefined
  /** May this kernel's unprivileged users make user namespaces, as far as its settings tell? */
  readonly userNamespaces: boolean
  /** The kernel has seccomp filters. */
  readonly seccomp: boolean
}

export async function probeJail(): Promise<JailReport> {
  const path = findBubblewrap()
  const userNamespaces = hasUserNamespaces()
  const seccomp = existsSync('/proc/sys/kernel/seccomp/actions_avail')
  const bubblewrap = path === undefined ? undefined : { path, version: await versionOf(path) }
  const obstacle = path === undefined ? NO_BUBBLEWRAP : await tryIt(userNamespaces, seccomp)
  return {
    usable: obstacle === undefined,
    obstacle,
    bubblewrap,
    userNamespaces,
    seccomp,
  }
}

async function versionOf(path: string): Promise<string> {
  try {
    const { stdout } = await run(path, ['--version'], { timeout: PROBE_MS })
    return stdout.trim().replace(/^bubblewrap /, '')
  } catch {
    return 'unknown'
  }
}

/** Starts a small program as a worker is started. */
async function tryIt(userNamespaces: boolean, seccomp: boolean): Promise<string | undefined> {
  const said = await probe()
  if (said === 'jailed') return undefined
  const why = said.replaceAll(/\s+/g, ' ').slice(0, 300)
  if (!seccomp) return `the kernel has no seccomp filters (${why}): boot one that has`
  if (!userNamespaces)
    return (
      `unprivileged user namespaces are off (${why}): allow them with ` +
      'sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000'
    )
  return (
    `bubblewrap cannot make a jail here (${why}): in a container, allow it to make user ` +
    'namespaces; under AppArmor, allow bwrap "userns"'
  )
}

async function probe(): Promise<string> {
  let launched: ReturnType<typeof launchJailed>
  try {
    launched = launchJailed({ program: launcherPath, args: ['--probe'] })
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  const { child, socketFd } = launched
  closeSync(socketFd)
  const timer = setTimeout(() => launched.kill(), PROBE_MS)
  let output = ''
  child.stdout?.on('data', (data: Buffer) => (output += data.toString()))
  child.stderr?.on('data', (data: Buffer) => (output += data.toString()))
  const closed = new Promise((resolve) => child.once('close', resolve).once('error', resolve))
  await launched.process.then(
    (process) => process.close(),
    () => undefined,
  )
  await closed
  clearTimeout(timer)
  return output.trim()
}

function hasUserNamespaces(): boolean {
  // Debian's own switch, and everybody's.
  if (setting('kernel/unprivileged_userns_clone') === '0') return false
  return setting('user/max_user_namespaces') !== '0'
}

function setting(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim()
  } catch {
    return undefined
  }
}
