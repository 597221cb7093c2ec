/** The daemon of many tenants: puts configuration, broker, sandbox and tenants together. */
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { makeDirectories } from '../config/directories.ts'
import { SANDBOX_POOL } from '../config/limits.ts'
import type { ServeConfiguration } from '../config/served.ts'
import { createSandbox, probeJail } from '../sandbox/index.ts'
import type { Sandbox, SandboxOptions } from '../sandbox/types.ts'
import type { Logger } from '../telemetry/log.ts'
import { orUndo } from '../tenants/assembly.ts'
import { MountRecords } from '../tenants/dead-mounts.ts'
import { lockState, prepareState } from '../tenants/state-lock.ts'
import { Tenants } from '../tenants/tenants.ts'
import { openTenantBroker } from './serve-broker.ts'

/** Whatever hangs in a tenant's backing must not keep the others from a clean end. */
const STOP_PATIENCE_MS = 10_000

export interface ServeOptions {
  readonly configuration: ServeConfiguration
  readonly jail: SandboxOptions['jail']
  readonly log: Logger
}

export interface ServeDaemon {
  readonly tenants: Tenants
  /** Makes the difference to what was there before, and nothing else. One at a time. */
  reload(configuration: ServeConfiguration): Promise<void>
  /** Idempotent. */
  close(): Promise<void>
}

/** Resolves once every tenant that can be served is. Undoes what it began if a part fails. */
export function startServing(options: ServeOptions): Promise<ServeDaemon> {
  return orUndo((undo) => assemble(options, undo))
}

async function assemble(
  { configuration, jail, log }: ServeOptions,
  undo: AsyncDisposableStack,
): Promise<ServeDaemon> {
  const { state, runtime } = configuration
  await prepareState(state)
  undo.defer(lockState(state))
  await makeDirectories(runtime, 0o755)
  const records = new MountRecords(runtime)
  await records.open()
  for (const mountPoint of await records.recover())
    log.warn({ mountPoint }, 'took away a dead mount')

  let current = configuration
  const sandbox = await startSandbox(
    configuration,
    jail,
    (tenant) => current.tenants.find(({ name }) => name === tenant)?.share,
  )
  undo.defer(() => sandbox.close())
  const { broker, store, close } = await openTenantBroker(configuration, log)
  undo.defer(close)
  const tenants = new Tenants({
    directories: { state, runtime },
    records,
    store,
    broker,
    sandbox,
    threads: configuration.threads,
    limits: configuration.limits,
    bounds: configuration.bounds,
    log,
  })
  undo.defer(() =>
    Promise.race([tenants.stop(), sleep(STOP_PATIENCE_MS, undefined, { ref: false })]),
  )
  await broker.configure(configuration)
  await tenants.start(configuration.tenants)
  await broker.serveAdmin(tenants)
  if (configuration.plugin !== undefined) await broker.servePlugin(configuration.plugin)
  if (configuration.https !== undefined) await broker.serveHttps(configuration.https)
  warnWithoutJail(jail, log).catch((error: unknown) => log.error({ err: error }, 'the sandbox'))

  let reloading: Promise<void> = Promise.resolve()
  let closing: Promise<void> | undefined
  const reload = async (before: Promise<void>, next: ServeConfiguration): Promise<void> => {
    await before
    refuseUnchangeable(current, next)
    await tenants.apply(next.tenants)
    await broker.configure(next)
    current = next
  }
  return {
    tenants,
    reload: (next) => {
      const mine = reload(reloading, next)
      reloading = mine.catch(() => undefined)
      return mine
    },
    close: () => {
      closing ??= undo.disposeAsync()
      return closing
    },
  }
}

/** What stands under everything else. */
function refuseUnchangeable(before: ServeConfiguration, after: ServeConfiguration): void {
  for (const key of ['state', 'runtime', 'workers', 'threads', 'plugin', 'https'] as const) {
    if (isDeepStrictEqual(before[key], after[key])) continue
    throw new Error(`${key} cannot change while the daemon runs: restart it`)
  }
}

async function startSandbox(
  { state, workers, limits }: ServeConfiguration,
  jail: SandboxOptions['jail'],
  shareOf: (tenant: string) => number | undefined,
): Promise<Sandbox> {
  const spool = path.join(state, 'spool')
  await rm(spool, { recursive: true, force: true }) // of a daemon that was killed
  await mkdir(spool, { mode: 0o700 })
  return createSandbox({
    ...SANDBOX_POOL,
    maxWorkers: workers,
    idleWorkers: Math.min(SANDBOX_POOL.idleWorkers, workers),
    jail,
    spoolDirectory: spool,
    warmLimits: limits,
    shareOf: (tenant) => shareOf(tenant) ?? 1,
  })
}

async function warnWithoutJail(jail: SandboxOptions['jail'], log: Logger): Promise<void> {
  if (jail === 'unsafe-none')
    return log.warn('programs run without a jail: attach only what you trust')
  const { obstacle } = await probeJail()
  if (obstacle !== undefined) log.warn(`programs will not run: ${obstacle}`)
}
