/** Trees in the mount namespaces of others: `native/containers/mount_attach`, a process each time. */
import { fileURLToPath } from 'node:url'
import { addon } from '../addon/index.ts'
import { VfsError } from '../errors.ts'
import type { Consumer } from './consumer.ts'

const helper = fileURLToPath(new URL('../../native/build/Release/mount_attach', import.meta.url))

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
  return await help(pid, ['attach', String(pid), String(startTicks), target, mode, name], root)
}

/** `mount`: as `attach` said; undefined: only what is dead there. VfsError as of `attach`. */
export async function detach(
  { pid, startTicks }: Consumer,
  target: string,
  mount: string | undefined,
): Promise<void> {
  await help(pid, ['detach', String(pid), String(startTicks), target, mount ?? '0'], -1)
}

async function help(pid: number, words: readonly string[], root: number): Promise<string> {
  const ended = await addon.runAttach(pid, [helper, ...words], root).catch((error: unknown) => {
    throw new VfsError('ENOTSUP', `${helper} cannot be run: run scripts/setup`, { cause: error })
  })
  if (ended.status === 0) return ended.out.trim()
  const said = ended.err.trim()
  if (ended.status === GONE) throw new VfsError('ESRCH', said)
  throw new VfsError('EADDRNOTAVAIL', said === '' ? 'the container did not answer in time' : said)
}
