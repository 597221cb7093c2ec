/**
 * The daemon where the addon does not load: ordinary files over fuse-native, and nothing else. Programs
 * need the jail and somebody who opens inputs for them, and both are the addon's. So they are refused.
 */
import type { Daemon, DaemonOptions } from '../daemon.ts'
import { DEFAULT_RESERVED_NAMES } from '../config/limits.ts'
import { VfsError } from '../errors.ts'
import { mountOrdinaryFiles } from '../file-server/fuse-native/ordinary-only.ts'
import { orUndo } from '../tenants/assembly.ts'
import { serveControl } from './control-server.ts'
import { describeMount, register, unregister } from './registry.ts'
import { lockState, prepareState } from '../tenants/state-lock.ts'

/** Resolves when the mount answers. Undoes what it began if a part fails. */
export function startOrdinaryDaemon(options: DaemonOptions): Promise<Daemon> {
  return orUndo((undo) => assemble(options, undo))
}

async function assemble(options: DaemonOptions, undo: AsyncDisposableStack): Promise<Daemon> {
  const { backing, mountPoint, stateDirectory, runtimeDirectory, limits, log } = options
  await prepareState(stateDirectory)
  undo.defer(lockState(stateDirectory))

  const ended = Promise.withResolvers<string>()
  let closing: Promise<void> | undefined
  const close = (reason: string): Promise<void> => {
    closing ??= undo.disposeAsync().then(
      () => ended.resolve(reason),
      (error: unknown) => {
        ended.reject(error)
        throw error
      },
    )
    return closing
  }
  const server = await mountOrdinaryFiles({
    backing,
    mountPoint,
    reserved: DEFAULT_RESERVED_NAMES,
    onNotice: (notice) => {
      if (notice.kind !== 'ended') return
      close(notice.reason).catch((error: unknown) => log.error({ err: error }, 'the tear-down'))
    },
  })
  undo.defer(() => server.unmount())

  const record = await describeMount(options)
  undo.defer(
    await serveControl({
      record,
      fileServer: {
        negotiated: server.negotiated,
        statistics: () => server.statistics(),
        volume: { keyOf: refuse },
      },
      compute: { list: async () => [], source: () => undefined, stage: refuse },
      sandbox: { statistics: () => ({ workers: 0, idle: 0, runs: 0, queued: 0, kills: 0 }) },
      limits,
    }),
  )
  await register(runtimeDirectory, record)
  undo.defer(() => unregister(runtimeDirectory, record))
  log.warn('the addon does not load: ordinary files are served, programs are refused')
  return { negotiated: server.negotiated, ended: ended.promise, close: () => close('asked to') }
}

async function refuse(): Promise<never> {
  throw new VfsError('ENOTSUP', 'programs need the addon, which does not load here')
}
