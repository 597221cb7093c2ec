/**
 * One tenant: its mount with grafts, its programs, its share of the sandbox. Everything goes in and out
 * as plain data over promises, so that it can move into a process of its own.
 */
import { chown, mkdir, rm } from 'node:fs/promises'
import type {
  TenantCompute,
  TenantGraft,
  TenantLatencies,
  TenantMount,
  TenantUsage,
} from '../broker/ports.ts'
import type { Tenant } from '../broker/types.ts'
import type { Compute } from '../compute/types.ts'
import type { ComputeLimits } from '../config/limits.ts'
import { makeDirectories } from '../config/directories.ts'
import { VfsError } from '../errors.ts'
import { mountAt, readMountTable } from '../file-server/mount-table.ts'
import type { FileServer, Negotiated, Statistics } from '../file-server/types.ts'
import type { RunLimits, Sandbox } from '../sandbox/types.ts'
import type { Logger } from '../telemetry/log.ts'
import { orUndo } from './assembly.ts'
import { ContainerMounts } from './container-mounts.ts'
import type { TenantPlaces } from './places.ts'
import { serveVolume } from './served-volume.ts'
import { prepareState } from './state-lock.ts'

export interface TenantServerOptions {
  readonly tenant: Tenant
  readonly places: TenantPlaces
  /** The tenant's share of it. */
  readonly sandbox: Sandbox
  readonly limits: RunLimits
  readonly bounds: ComputeLimits
  /** Of the mount; each may block in the backing. */
  readonly threads: number
  readonly log: Logger
  /** The mount went without being asked to. */
  readonly onEnded: (reason: string) => void
}

export interface TenantServer {
  readonly tenant: Tenant
  readonly places: TenantPlaces
  readonly mount: TenantMount
  readonly compute: TenantCompute
  readonly negotiated: Negotiated
  statistics(): Statistics
  noticeMs(): number
  /** Unmounts; what is granted is grafted no more. Idempotent. */
  stop(): Promise<void>
}

/** Makes what is missing of the tenant's places, and mounts. Undoes what it began if a part fails. */
export function startTenant(options: TenantServerOptions): Promise<TenantServer> {
  return orUndo((undo) => start(options, undo))
}

async function start(
  options: TenantServerOptions,
  undo: AsyncDisposableStack,
): Promise<TenantServer> {
  const { tenant, places, sandbox, limits, bounds, threads, log } = options
  await makePlaces(tenant, places)
  let stopping = false
  const common = {
    allowOther: true,
    listReserved: false,
    sharedBacking: false,
    fileServer: 'native',
    threads,
    sandbox,
    tenant: tenant.name,
    limits,
    bounds,
    log,
  } as const
  const { server, compute } = await serveVolume(
    {
      ...common,
      backing: places.home,
      mountPoint: places.mountPoint,
      stateDirectory: places.compute,
      exclusive: places.ownHome,
      onEnded: (reason) => {
        if (!stopping) options.onEnded(reason)
      },
    },
    undo,
  )
  const mounted = mountAt(await readMountTable(), places.mountPoint)
  if (mounted === undefined)
    throw new VfsError('ENOTCONN', `${places.mountPoint} was unmounted at once`)
  const containers = new ContainerMounts({
    directory: places.containers,
    ids: tenant.ids,
    serve: async (own, onEnded, undo) => {
      const options = { ...common, ...own, mountPoint: undefined, exclusive: true, onEnded }
      return (await serveVolume(options, undo)).server
    },
    log,
  })
  await containers.sweep()
  undo.defer(() => containers.close())
  let stopped: Promise<void> | undefined
  return {
    tenant,
    places,
    mount: new Mount(server, containers, places.mountPoint, mounted.minor),
    compute: computeOf(server, compute, places.scratch),
    negotiated: server.negotiated,
    statistics: () => server.statistics(),
    noticeMs: () => server.noticeMs(),
    stop: () => {
      stopping = true
      stopped ??= undo.disposeAsync()
      return stopped
    },
  }
}

/** The home is the tenant's own, and nobody else's to enter, as home directories are. */
async function makePlaces({ ids }: Tenant, places: TenantPlaces): Promise<void> {
  await makeDirectories(places.state, 0o700)
  await prepareState(places.compute)
  await rm(places.scratch, { recursive: true, force: true }) // of a daemon that was killed
  await mkdir(places.scratch, { mode: 0o700 })
  if (places.ownHome && (await makeDirectory(places.home)))
    await chown(places.home, ids.first, ids.first)
  await makeDirectories(places.mountPoint, 0o755)
  await makeDirectories(places.endpoint, 0o755)
}

/** Whether it had to be made. */
async function makeDirectory(directory: string): Promise<boolean> {
  try {
    await mkdir(directory, { mode: 0o700 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

class Mount implements TenantMount {
  readonly mountPoint: string
  readonly deviceMinor: number
  readonly #server: FileServer
  readonly #containers: ContainerMounts

  constructor(
    server: FileServer,
    containers: ContainerMounts,
    mountPoint: string,
    deviceMinor: number,
  ) {
    this.#server = server
    this.#containers = containers
    this.mountPoint = mountPoint
    this.deviceMinor = deviceMinor
  }

  graft(...[at, { backing, subpath }, options]: Parameters<TenantMount['graft']>): Promise<number> {
    return this.#server.graftAt(at, backing, subpath, options)
  }

  shown(graft: number): Promise<void> {
    return this.#containers.has(graft) ? Promise.resolve() : this.#server.shown(graft)
  }

  inject(...args: Parameters<TenantMount['inject']>): Promise<number> {
    return this.#containers.inject(...args)
  }

  clear(...args: Parameters<TenantMount['clear']>): Promise<void> {
    return this.#containers.clear(...args)
  }

  drifted(): ReturnType<TenantMount['drifted']> {
    return this.#containers.drifted()
  }

  revoke(graft: number): Promise<void> {
    return this.#containers.revoke(graft) ?? this.#server.revoke(graft)
  }

  grafts(): readonly TenantGraft[] {
    const { deviceMinor } = this
    const own = graftsOf(this.#server).map((each) => ({ ...each, deviceMinor }))
    return [...own, ...this.#containers.grafts()]
  }

  openHandles(graft: number): number {
    const within = this.#containers.within(graft) ?? this.#server.graftsWithin(graft)
    return within.reduce((sum, each) => sum + each.openHandles, 0)
  }

  usage(): readonly TenantUsage[] {
    return [...this.#server.usage(), ...this.#containers.usage()]
  }

  latencies(): readonly TenantLatencies[] {
    return [...this.#server.latencies(), ...this.#containers.latencies()]
  }

  holdWrites(graft: number, longestMs: number): Promise<boolean> {
    return (
      this.#containers.holdWrites(graft, longestMs) ?? this.#server.holdWrites(graft, longestMs)
    )
  }

  letWrite(graft: number): void {
    if (!this.#containers.letWrite(graft)) this.#server.letWrite(graft)
  }
}

/** Points by their path in the mount: a graft tells only where it stands in the tree around it. */
function graftsOf(server: Pick<FileServer, 'statistics'>): Omit<TenantGraft, 'deviceMinor'>[] {
  const { grafts } = server.statistics()
  const byId = new Map(grafts.map((each) => [each.id, each]))
  const pathOf = (id: number): string => {
    const parts: string[] = []
    for (let each = byId.get(id); each !== undefined; each = byId.get(each.within))
      parts.unshift(each.path)
    return parts.join('/')
  }
  return grafts.map(({ id, openHandles }) => ({ graft: id, at: pathOf(id), openHandles }))
}

function computeOf(server: FileServer, compute: Compute, scratchDirectory: string): TenantCompute {
  return {
    evaluate: (directory, source, principal, options) =>
      compute.evaluate(directory, source, principal, options),
    keyOf: (path, principal) => server.volume.keyOf(path, principal),
    scratchDirectory,
  }
}
