/** Which process of this machine a container is: asked of its engine, or read where its runtime keeps it. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { CliError, EXIT, oneLine } from './exit.ts'

const exec = promisify(execFile)

/** An engine may be busy with other containers. */
const INSPECT_MS = 20_000

export interface ConsumerFlags {
  readonly pid?: number
  readonly container?: string
}

/** As the daemon is told; it looks for itself whether that is so. */
export interface NamedConsumer {
  readonly pid: number
  readonly startTicks?: number
  readonly container?: string
}

export async function consumerOf({ pid, container }: ConsumerFlags): Promise<NamedConsumer> {
  if ((pid === undefined) === (container === undefined))
    throw new CliError(EXIT.usage, 'give one of --pid and --container')
  return pid === undefined ? await inContainer(container ?? '') : { pid }
}

/**
 * An engine tells a number only. The process with it is the container's if its control group says so, or
 * else if it began before the engine was asked a second time and named it again.
 */
async function inContainer(id: string): Promise<NamedConsumer> {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(id))
    throw new CliError(EXIT.usage, 'a container has a name or an id: letters, digits, "_.-"')
  const reasons: string[] = []
  for (const engine of ['podman', 'docker']) {
    const first = await inspect(engine, id)
    if (typeof first === 'string') reasons.push(first)
    if (typeof first !== 'object') continue
    const startTicks = await startOf(first.pid)
    if (startTicks !== undefined && (await isIn(first.pid, first.container)))
      return { ...first, startTicks }
    const again = startTicks === undefined ? undefined : await inspect(engine, first.container)
    if (typeof again === 'object' && again.pid === first.pid && startTicks !== undefined)
      return { ...first, startTicks }
    reasons.push(`${engine}: ${id} has ended`)
  }
  const found = await ofRuntime(id)
  if (found !== undefined) return found
  const why =
    reasons.length === 0
      ? 'neither podman nor docker is here, nor is it of crun or runc'
      : reasons.join('; ')
  throw new CliError(EXIT.failed, why)
}

/** Undefined: there is no such engine; a text: why it does not know it. */
async function inspect(
  engine: string,
  id: string,
): Promise<{ readonly pid: number; readonly container: string } | string | undefined> {
  try {
    const words = ['container', 'inspect', '--format', '{{.State.Pid}} {{.Id}}', '--', id]
    const { stdout } = await exec(engine, words, { timeout: INSPECT_MS })
    const [pid, container = ''] = stdout.trim().split(' ')
    if (Number(pid) > 0 && /^[0-9a-f]{64}$/.test(container)) return { pid: Number(pid), container }
    return `${engine}: ${id} does not run`
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string }
    return code === 'ENOENT' ? undefined : `${engine}: ${oneLine(stderr ?? String(error))}`
  }
}

/** Where OCI runtimes keep the state of what runs; crun's file says when the process began, and so does runc's. */
const RUNTIMES: readonly { readonly root: string; readonly file: string }[] = [
  { root: '/run/crun', file: 'status' },
  { root: '/run/runc', file: 'state.json' },
  { root: '/run/docker/runtime-runc/moby', file: 'state.json' },
  { root: '/run/containerd/runc/k8s.io', file: 'state.json' },
]

async function ofRuntime(container: string): Promise<NamedConsumer | undefined> {
  for (const { root, file } of RUNTIMES) {
    const text = await readFile(path.join(root, container, file), 'utf8').catch(() => undefined)
    const state = text === undefined ? undefined : parse(text)
    const pid = Number(state?.['pid'] ?? state?.['init_process_pid'])
    const startTicks = Number(state?.['process-start-time'] ?? state?.['init_process_start'])
    if (Number.isSafeInteger(pid) && pid > 0 && Number.isSafeInteger(startTicks))
      return { pid, startTicks, container }
  }
  return undefined
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return undefined // it is being written, or is none of these
  }
}

async function isIn(pid: number, container: string): Promise<boolean> {
  return (await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '')).includes(container)
}

/** Field 22 of proc_pid_stat(5), where the second, a name in parentheses, may hold anything. */
async function startOf(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
  return Number.isSafeInteger(ticks) && ticks > 0 ? ticks : undefined
}
