/**
 * The processes that volumes are put before: told apart by number and by when they began, so that a
 * number that is given again means nothing.
 */
import { readFile } from 'node:fs/promises'
import { addon } from '../addon/index.ts'

/** Plain data: it stands in the broker's state, and is good until the process ends. */
export interface Consumer {
  /** In the daemon's pid namespace. */
  readonly pid: number
  /** Clock ticks after the boot. */
  readonly startTicks: number
  readonly bootId: string
  /** A number that no other mount namespace is given until the next boot. */
  readonly mountNamespace: string
  /** As its engine calls it; undefined: a plain process. */
  readonly container: string | undefined
}

export type Identified =
  | { readonly consumer: Consumer }
  /** Why not; a sentence for an operator. */
  | { readonly fault: string }

let boot: Promise<string> | undefined

function bootId(): Promise<string> {
  boot ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then((text) => text.trim())
  return boot
}

/**
 * Who has that number now. `container`: whose it is said to be, `startTicks`: when it is said to have
 * begun; what the kernel says otherwise is a fault.
 */
export async function identify(
  pid: number,
  claimed: { readonly container: string | undefined; readonly startTicks: number | undefined },
): Promise<Identified> {
  const found = addon.identifyProcess(pid)
  if (found === undefined) return { fault: `there is no process ${pid}` }
  const { startTicks, mountNamespace, cgroup } = found
  if (claimed.startTicks !== undefined && claimed.startTicks !== startTicks)
    return { fault: `process ${pid} is another one by now` }
  if (mountNamespace === '0') return { fault: 'volumes inside containers need Linux 6.15 or newer' }
  if (mountNamespace === addon.identifyProcess(process.pid)?.mountNamespace)
    return { fault: `process ${pid} is in no mount namespace of its own` }
  const known = containerIn(cgroup)
  if (claimed.container !== undefined && known !== undefined && known !== claimed.container)
    return { fault: `process ${pid} is in another container` }
  const container = known ?? claimed.container
  return { consumer: { pid, startTicks, bootId: await bootId(), mountNamespace, container } }
}

/** Names the process among all that ever were on this machine; good for a file's name. */
export function keyOf({ bootId, pid, startTicks }: Consumer): string {
  return `${bootId}.${pid}.${startTicks}`
}

/** Whether the process of that key lives. */
export async function isThere(key: string): Promise<boolean> {
  const [boot, pid, startTicks] = key.split('.')
  if (boot !== (await bootId())) return false
  return addon.identifyProcess(Number(pid))?.startTicks === Number(startTicks)
}

/** Calls back once, also soon when it has ended already. Returns what ends the watch. */
export function watch({ pid, startTicks }: Consumer, onEnd: () => void): () => void {
  try {
    const watch = new addon.ProcessWatch(pid, startTicks, onEnd)
    return () => watch.close()
  } catch {
    const soon = setImmediate(onEnd)
    return () => clearImmediate(soon)
  }
}

/** The last part of /proc/PID/cgroup that looks like a container's id: podman, Docker, Kubernetes. */
export function containerIn(cgroup: string): string | undefined {
  return [...cgroup.matchAll(/(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/g)].at(-1)?.[0]
}
