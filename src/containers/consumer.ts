/**
 * What volumes are put before: a mount namespace, entered by way of a process in it. Processes are told apart
 * by number and by when they began, so that a number that is given again means nothing.
 */
import { readFile } from 'node:fs/promises'
import { addon } from '../addon/index.ts'
import type { ProcessIdentity } from '../addon/containers.ts'

/** Plain data: it stands in the broker's state, and is good as long as a process is in the namespace. */
export interface Consumer {
  /** The one that was named, in the daemon's pid namespace. */
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
  | { readonly consumer: Consumer; readonly uid: number }
  /** Why not; a sentence for an operator. */
  | { readonly fault: string }

/** The lane of those who look through all processes: no process has that number. */
const SEARCHES = 0

let boot: Promise<string> | undefined

function bootId(): Promise<string> {
  boot ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then((text) => text.trim())
  return boot
}

/**
 * Who has that number now, and on whose behalf on the host. `container`: whose it is said to be, `startTicks`:
 * when it is said to have begun; what the kernel says otherwise is a fault.
 */
export async function identify(
  pid: number,
  claimed: { readonly container: string | undefined; readonly startTicks: number | undefined },
): Promise<Identified> {
  const found = addon.identifyProcess(pid)
  if (found === undefined) return { fault: `there is no process ${pid}` }
  const { startTicks, mountNamespace, cgroup, status } = found
  if (claimed.startTicks !== undefined && claimed.startTicks !== startTicks)
    return { fault: `process ${pid} is another one by now` }
  if (mountNamespace === '0') return { fault: 'volumes inside containers need Linux 6.15 or newer' }
  if (mountNamespace === addon.identifyProcess(process.pid)?.mountNamespace)
    return { fault: `process ${pid} is in no mount namespace of its own` }
  const known = containerIn(cgroup)
  if (claimed.container !== undefined && known !== undefined && known !== claimed.container)
    return { fault: `process ${pid} is in another container` }
  const container = known ?? claimed.container
  const uid = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN)
  const consumer = { pid, startTicks, bootId: await bootId(), mountNamespace, container }
  return { consumer, uid }
}

/** Names the namespace among all that ever were on this machine; good for a file's name. */
export function keyOf({ bootId, mountNamespace }: Consumer): string {
  return `${bootId}.${mountNamespace}`
}

/** Whether a process is in the namespace of that key. */
export async function isThere(key: string): Promise<boolean> {
  const [boot, mountNamespace = ''] = key.split('.')
  if (boot !== (await bootId())) return false
  return (await addon.findProcess(SEARCHES, mountNamespace)) !== undefined
}

/** By way of a process that lives: the one that was named, or else the oldest in there. Undefined: none is. */
export async function livingIn(consumer: Consumer): Promise<Consumer | undefined> {
  if (consumer.bootId !== (await bootId())) return undefined
  if (look(consumer) !== undefined) return consumer
  const found = await addon.findProcess(SEARCHES, consumer.mountNamespace)
  return found && { ...consumer, ...found }
}

/** What the kernel says of it; undefined: it is not the process that was meant any more. */
export function look({ pid, startTicks, mountNamespace }: Consumer): ProcessIdentity | undefined {
  const found = addon.identifyProcess(pid)
  const isIt = found?.startTicks === startTicks && found.mountNamespace === mountNamespace
  return isIt ? found : undefined
}

/** Calls back once, also soon when that process has ended already. Returns what ends the watch. */
export function watch({ pid, startTicks }: Consumer, onEnd: () => void): () => void {
  try {
    const watch = new addon.ProcessWatch(pid, startTicks, onEnd)
    return () => watch.close()
  } catch {
    const soon = setImmediate(onEnd)
    return () => clearImmediate(soon)
  }
}

/**
 * The first part of /proc/PID/cgroup that looks like a container's id: podman, Docker, Kubernetes. What
 * stands below it whoever runs in there may have made and named.
 */
export function containerIn(cgroup: string): string | undefined {
  return /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/.exec(cgroup)?.[0]
}
