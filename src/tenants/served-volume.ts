/**
 * One directory served: its mount, the programs in it, and what their virtual files hold. Put together
 * here for whoever serves, be it one mount or many tenants. Nothing here may touch the mount point (a
 * synchronous access would wait for ourselves).
 */
import { createCompute } from '../compute/index.ts'
import type { Compute } from '../compute/types.ts'
import { DEFAULT_RESERVED_NAMES, type ComputeLimits } from '../config/limits.ts'
import { mountNative } from '../file-server/native.ts'
import type {
  FileServer,
  FileServerName,
  MountOptions,
  Notice,
  VirtualHandler,
} from '../file-server/types.ts'
import type { RunLimits, Sandbox } from '../sandbox/types.ts'
import type { Logger } from '../telemetry/log.ts'
import { createVirtualFiles } from '../virtual-files/index.ts'

export interface ServedVolumeOptions extends Pick<
  MountOptions,
  'exclusive' | 'allowOther' | 'listReserved' | 'sharedBacking' | 'threads' | 'ids' | 'hideDevices'
> {
  /** Absolute, without links; checked by the caller. */
  readonly backing: string
  /** Undefined: attached nowhere. */
  readonly mountPoint: string | undefined
  /** Of this volume alone. */
  readonly stateDirectory: string
  readonly fileServer: FileServerName
  readonly sandbox: Sandbox
  /** Seeds its programs' randomness, and is whom the sandbox counts them for. */
  readonly tenant: string
  readonly limits: RunLimits
  readonly bounds?: ComputeLimits
  readonly log: Logger
  /** The connection ended, whoever ended it. */
  readonly onEnded: (reason: string) => void
}

export interface ServedVolume {
  readonly server: FileServer
  readonly compute: Compute
}

/** What somebody who reads the log is told of a path. */
const NOTICES: Record<Exclude<Notice['kind'], 'ended'>, string> = {
  'reserved-name-taken': 'a real entry has a reserved name and is served instead',
  'compute-not-granted': 'no program is attached here: the graft is granted without compute',
}

/** Resolves when the mount answers. `undo` gets what takes it away again, also if a part fails. */
export async function serveVolume(
  options: ServedVolumeOptions,
  undo: AsyncDisposableStack,
): Promise<ServedVolume> {
  const { log, sandbox, stateDirectory, limits, tenant, bounds } = options
  const { server, serve } = await mount(options, (notice) => {
    if (notice.kind === 'ended') options.onEnded(notice.reason)
    else log.warn({ path: notice.path }, NOTICES[notice.kind])
  })
  undo.defer(() => server.unmount())

  const compute = createCompute({
    volume: server.volume,
    fileServer: server,
    sandbox,
    stateDirectory,
    limits,
    ...(bounds === undefined ? {} : { bounds }),
    tenant,
    log,
  })
  undo.defer(() => compute.close())
  await compute.start()

  const virtualFiles = createVirtualFiles({ compute, fileServer: server, limits, log })
  undo.defer(() => virtualFiles.close())
  serve(virtualFiles.handler)
  return { server, compute }
}

/**
 * The handler needs compute, which needs the mounted server: requests that come in between wait for
 * the few milliseconds until `serve` is called.
 */
async function mount(
  options: ServedVolumeOptions,
  onNotice: (notice: Notice) => void,
): Promise<{ server: FileServer; serve: (handler: VirtualHandler) => void }> {
  const handler = Promise.withResolvers<VirtualHandler>()
  const serve = options.fileServer === 'native' ? mountNative : mountFallback
  const server = await serve({
    backing: options.backing,
    mountPoint: options.mountPoint,
    exclusive: options.exclusive,
    allowOther: options.allowOther,
    listReserved: options.listReserved,
    sharedBacking: options.sharedBacking,
    ...(options.threads === undefined ? {} : { threads: options.threads }),
    ids: options.ids,
    hideDevices: options.hideDevices,
    reserved: DEFAULT_RESERVED_NAMES,
    handler: async (request, signal) => (await handler.promise)(request, signal),
    onNotice,
  })
  return { server, serve: handler.resolve }
}

async function mountFallback(options: MountOptions): Promise<FileServer> {
  const { mountFuseNative } = await import('../file-server/fuse-native/server.ts')
  return await mountFuseNative(options)
}
