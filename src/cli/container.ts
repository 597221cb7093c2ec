/** Granted volumes inside running containers, at any path: found, put in and taken out. Root only. */
import { execFile } from 'node:child_process'
import { readlink } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { CliError, EXIT, oneLine } from './exit.ts'

const exec = promisify(execFile)

/** The helper gives up by itself before. */
const HELPER_MS = 15_000
/** An engine may be busy with other containers. */
const INSPECT_MS = 20_000

const helper = fileURLToPath(new URL('../../native/build/Release/mount_attach', import.meta.url))

export interface Consumer {
  readonly pid?: number
  readonly container?: string
}

/** The process whose mount namespace is meant. */
export async function consumerPid({ pid, container }: Consumer): Promise<number> {
  if ((pid === undefined) === (container === undefined))
    throw new CliError(EXIT.usage, 'give one of --pid and --container')
  const found = pid ?? (await containerPid(container ?? ''))
  const [own, theirs] = await Promise.all([namespaceOf('self'), namespaceOf(String(found))])
  if (theirs === undefined) throw new CliError(EXIT.failed, `there is no process ${found}`)
  if (own === theirs)
    throw new CliError(
      EXIT.usage,
      `process ${found} is in no mount namespace of its own: mount --bind does that`,
    )
  return found
}

async function namespaceOf(pid: string): Promise<string | undefined> {
  return await readlink(`/proc/${pid}/ns/mnt`).catch(() => undefined)
}

async function containerPid(id: string): Promise<number> {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(id))
    throw new CliError(EXIT.usage, 'a container has a name or an id: letters, digits, "_.-"')
  let why = 'neither podman nor docker is here'
  for (const engine of ['podman', 'docker']) {
    try {
      const { stdout } = await exec(engine, ['inspect', '--format', '{{.State.Pid}}', '--', id], {
        timeout: INSPECT_MS,
      })
      const pid = Number(stdout.trim())
      if (Number.isSafeInteger(pid) && pid > 0) return pid
      why = `${engine}: ${id} does not run`
    } catch (error) {
      const { code, stderr } = error as { code?: unknown; stderr?: string }
      if (code !== 'ENOENT') why = `${engine}: ${oneLine(stderr ?? String(error))}`
    }
  }
  throw new CliError(EXIT.failed, why)
}

/** Done once it is seen there. */
export async function attachTree(
  pid: number,
  source: string,
  target: string,
  mode: 'ro' | 'rw',
): Promise<void> {
  await help(['attach', String(pid), source, target, mode])
}

/** The tree stays where else it is mounted. */
export async function detachTree(pid: number, target: string): Promise<void> {
  await help(['detach', String(pid), target])
}

async function help(words: readonly string[]): Promise<void> {
  try {
    await exec(helper, words, { timeout: HELPER_MS, killSignal: 'SIGKILL' })
  } catch (error) {
    const { code, signal, stderr } = error as {
      code?: unknown
      signal?: string | null
      stderr?: string
    }
    if (code === 'ENOENT')
      throw new CliError(EXIT.unavailable, `there is no ${helper}: run scripts/setup`)
    const said = oneLine((stderr ?? '').trim())
    const silent = signal ? 'the tree or the container did not answer in time' : String(error)
    throw new CliError(EXIT.failed, said === '' ? silent : said)
  }
}
