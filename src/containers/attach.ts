/** Trees in the mount namespaces of others: `native/containers/mount_attach`, a process each time. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { VfsError } from '../errors.ts'
import type { Consumer } from './consumer.ts'

const helper = fileURLToPath(new URL('../../native/build/Release/mount_attach', import.meta.url))

/** The helper gives up by itself before. */
const HELPER_MS = 15_000
const MAX_OUTPUT_BYTES = 4_096
/** Each is a process, and may wait for a filesystem of the container's. */
const AT_ONCE = 8
/** Of the helper: there is no such process any more. */
const GONE = 3

export interface Tree {
  /** Descriptor of the root of a mount that is attached nowhere. */
  readonly root: number
  /** The directory in it that is shown. */
  readonly name: string
  readonly readOnly: boolean
}

/** Resolves with the mount's number once a walk of `target` in there ends in it. VfsError: ESRCH (the
 * process ended), EADDRNOTAVAIL (the target cannot be; the message says why). */
export async function attach(
  { pid, startTicks }: Consumer,
  target: string,
  { root, name, readOnly }: Tree,
): Promise<string> {
  const mode = readOnly ? 'ro' : 'rw'
  const said = await help(['attach', String(pid), String(startTicks), target, mode, name], root)
  return said.trim()
}

/** `mount`: as `attach` said; undefined: only what is dead there. VfsError as of `attach`. */
export async function detach(
  { pid, startTicks }: Consumer,
  target: string,
  mount: string | undefined,
): Promise<void> {
  await help(['detach', String(pid), String(startTicks), target, mount ?? '0'])
}

let free = AT_ONCE
const waiting: (() => void)[] = []

async function help(words: readonly string[], root?: number): Promise<string> {
  if (free > 0) free -= 1
  else await new Promise<void>((resolve) => waiting.push(resolve))
  try {
    return await run(words, root)
  } finally {
    const next = waiting.shift()
    if (next === undefined) free += 1
    else next()
  }
}

async function run(words: readonly string[], root: number | undefined): Promise<string> {
  const child = spawn(helper, words, {
    stdio: ['ignore', 'pipe', 'pipe', root ?? 'ignore'],
    cwd: '/',
    env: {},
    timeout: HELPER_MS,
    killSignal: 'SIGKILL',
  })
  const [out, err] = [collect(child.stdout), collect(child.stderr)]
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  }).catch((error: unknown) => {
    throw new VfsError('ENOTSUP', `${helper} cannot be run: run scripts/setup`, { cause: error })
  })
  if (status === 0) return out()
  const said = err().trim()
  if (status === GONE) throw new VfsError('ESRCH', said)
  throw new VfsError('EADDRNOTAVAIL', said === '' ? 'the container did not answer in time' : said)
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.on('data', (data: Buffer) => {
    if (text.length < MAX_OUTPUT_BYTES) text += data.toString()
  })
  return () => text
}
