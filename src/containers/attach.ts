/** Trees in the mount namespaces of others: `native/containers/mount_attach`, a process each time, which may be started before. */
import { fileURLToPath } from 'node:url'
import { addon } from '../addon/index.ts'
import { VfsError } from '../errors.ts'
import type { Consumer } from './consumer.ts'
import type { IdMaps } from './id-maps.ts'

const helper = fileURLToPath(new URL('../../native/build/Release/mount_attach', import.meta.url))

/** Of the helper: there is no such process any more. */
const GONE = 3

/** The lane of nobody in a container: no process has that number. */
const PREPARING = 0

/** Has a helper wait, so that the next one to be put in or taken out needs not wait for it to start. */
export function prepare(): void {
  // What is the matter the call itself will tell.
  void addon.prepareAttach(PREPARING, helper).catch(() => undefined)
}

export interface Tree {
  /** Descriptor of the root of a mount that is attached nowhere. */
  readonly root: number
  /** The directory in it that is shown. */
  readonly name: string
  readonly readOnly: boolean
  /** Undefined: ids are shown as they are. */
  readonly ids: IdMaps | undefined
}

/** Resolves with the mount's number once a walk of `target` in there ends in it. VfsError: ESRCH (the
 * process ended), EADDRNOTAVAIL (the target cannot be; the message says why). */
export async function attach(
  consumer: Consumer,
  target: string,
  { root, name, readOnly, ids }: Tree,
): Promise<string> {
  const mode = readOnly ? 'ro' : 'rw'
  const mapped = ids === undefined ? [] : [ids.users, ids.groups]
  const words = ['attach', ...wordsOf(consumer), target, mode, name, ...mapped]
  return await help(consumer.pid, words, root).finally(prepare)
}

/** `mount`: as `attach` said, wherever it is by now; undefined: only what is dead at the target. VfsError as of
 * `attach`. */
export async function detach(
  consumer: Consumer,
  target: string,
  mount: string | undefined,
): Promise<void> {
  const words = ['detach', ...wordsOf(consumer), target, mount ?? '0']
  await help(consumer.pid, words, -1).finally(prepare)
}

/**
 * Replaces bind mounts of the dead connection 0:`deviceMinor` in there by such of the living mount at `source`.
 * `wanted`: options and root of each, `OPTIONS:ROOT`, as in its mount table. Resolves with how many. VfsError as of
 * `attach`.
 */
export async function renew(
  consumer: Consumer,
  deviceMinor: number,
  source: string,
  wanted: readonly string[],
): Promise<number> {
  const words = ['renew', ...wordsOf(consumer), String(deviceMinor), source, ...wanted]
  return Number(await help(consumer.pid, words, -1))
}

function wordsOf({ pid, startTicks, mountNamespace }: Consumer): string[] {
  return [String(pid), String(startTicks), mountNamespace]
}

async function help(pid: number, words: readonly string[], root: number): Promise<string> {
  const ended = await addon.runAttach(pid, helper, words, root).catch((error: unknown) => {
    throw new VfsError('ENOTSUP', `${helper} cannot be run: run scripts/setup`, { cause: error })
  })
  if (ended.status === 0) return ended.out.trim()
  const said = ended.err.trim()
  if (ended.status === GONE) throw new VfsError('ESRCH', said)
  throw new VfsError('EADDRNOTAVAIL', said === '' ? 'the container did not answer in time' : said)
}
