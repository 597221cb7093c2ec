/**
 * The wiring: the only place that knows all the modules. It is the process that serves one mount, so
 * nothing here may touch the mount point itself (a synchronous access would wait for ourselves).
 */
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { serveControl } from './daemon/control-server.ts'
import { describeMount, register, unregister } from './daemon/registry.ts'
import type { FileServerName, Negotiated } from './file-server/types.ts'
import { LOCAL_TENANT, SANDBOX_POOL } from './config/limits.ts'
import { createSandbox, probeJail } from './sandbox/index.ts'
import type { RunLimits, Sandbox, SandboxOptions } from './sandbox/types.ts'
import type { Logger } from './telemetry/log.ts'
import { orUndo } from './tenants/assembly.ts'
import { serveVolume } from './tenants/served-volume.ts'
import { lockState, prepareState } from './tenants/state-lock.ts'

export interface DaemonOptions {
  /** Absolute, without links; checked by the caller. */
  readonly backing: string
  readonly mountPoint: string
  readonly stateDirectory: string
  readonly runtimeDirectory: string
  readonly exclusive: boolean
  readonly allowOther: boolean
  readonly listReserved: boolean
  readonly fileServer: FileServerName
  readonly sharedBacking: boolean
  readonly jail: SandboxOptions['jail']
  readonly limits: RunLimits
  readonly log: Logger
}

export interface Daemon {
  readonly negotiated: Negotiated
  /** Resolves with the reason once everything is torn down, whoever began it. */
  readonly ended: Promise<string>
  /** Unmounts and tears down; idempotent. */
  close(): Promise<void>
}

/** Resolves when the mount answers. Undoes what it began if a part fails. */
export function startDaemon(options: DaemonOptions): Promise<Daemon> {
  return orUndo((undo) => assemble(options, undo))
}

async function assemble(options: DaemonOptions, undo: AsyncDisposableStack): Promise<Daemon> {
  const { log, stateDirectory, runtimeDirectory, limits } = options
  await prepareState(stateDirectory)
  undo.defer(lockState(stateDirectory))

  const sandbox = await startSandbox(options)
  undo.defer(() => sandbox.close())

  let close: (reason: string) => void = () => {}
  const { server, compute } = await serveVolume(
    { ...options, sandbox, tenant: LOCAL_TENANT, onEnded: (reason) => close(reason) },
    undo,
  )

  const record = await describeMount(options)
  undo.defer(await serveControl({ record, fileServer: server, compute, sandbox, limits }))
  await register(runtimeDirectory, record)
  undo.defer(() => unregister(runtimeDirectory, record))

  const ended = Promise.withResolvers<string>()
  let closing: Promise<void> | undefined
  const stop = (reason: string): Promise<void> => {
    closing ??= undo.disposeAsync().then(
      () => {
        log.info({ reason }, 'unmounted')
        ended.resolve(reason)
      },
      (error: unknown) => {
        ended.reject(error)
        throw error
      },
    )
    return closing
  }
  close = (reason) => {
    stop(reason).catch((error: unknown) => log.error({ err: error }, 'the tear-down failed'))
  }
  logStart(options, server.negotiated)
  warnWithoutJail(options).catch((error: unknown) => log.error({ err: error }, 'the sandbox'))
  return { negotiated: server.negotiated, ended: ended.promise, close: () => stop('asked to') }
}

async function startSandbox({ jail, limits, stateDirectory }: DaemonOptions): Promise<Sandbox> {
  const spool = path.join(stateDirectory, 'spool')
  await rm(spool, { recursive: true, force: true }) // of a daemon that was killed
  await mkdir(spool, { mode: 0o700 })
  return createSandbox({ ...SANDBOX_POOL, jail, spoolDirectory: spool, warmLimits: limits })
}

/** Ordinary files are served in any case, so an operator learns here why programs do not run. */
async function warnWithoutJail({ jail, log }: DaemonOptions): Promise<void> {
  if (jail === 'unsafe-none')
    return log.warn('programs run without a jail: attach only what you trust')
  const { obstacle } = await probeJail()
  if (obstacle !== undefined) log.warn(`programs will not run: ${obstacle}`)
}

function logStart({ log, ...options }: DaemonOptions, negotiated: Negotiated): void {
  const { backing, mountPoint, stateDirectory, jail } = options
  log.debug({ backing, mountPoint, stateDirectory, jail, negotiated }, 'mounted')
}
