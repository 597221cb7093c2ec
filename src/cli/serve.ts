/** `insitu serve`: one daemon for all tenants of a configuration file. */
import { Option, type Command } from 'commander'
import { currentEnvironment } from '../config/paths.ts'
import type { ServeDaemon } from '../daemon/serve.ts'
import type { Logger, LogLevel } from '../telemetry/log.ts'
import { DEFAULT_FILE, describe, readConfiguration } from './config-file.ts'
import { CliError, EXIT } from './exit.ts'
import { example, unsafeOption } from './options.ts'
import { checkFuse } from './preflight.ts'
import { removeServeRecord, writeServeRecord } from '../daemon/serve-record.ts'

interface ServeCommandOptions {
  readonly config: string
  readonly unsafeNoJail?: true
  readonly logLevel: LogLevel
}

export function addServe(program: Command): void {
  program
    .command('serve')
    .description('serve all tenants of a configuration file until SIGTERM; SIGHUP reads it again')
    .option('-c, --config <file>', 'the configuration', DEFAULT_FILE)
    .addOption(unsafeOption())
    .addOption(
      new Option('--log-level <level>', 'least severe messages to log')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .addHelpText('after', example('$ insitu serve --config insitu.yaml'))
    .action(serve)
}

async function serve(options: ServeCommandOptions): Promise<void> {
  const { uid } = currentEnvironment()
  if (uid !== 0)
    throw new CliError(EXIT.unavailable, 'serving tenants needs root: they have ids of their own')
  await checkFuse(uid, true)
  const configuration = await readConfiguration(options.config)
  const [{ startServing }, { createLog }, { StateInUse }, { notifyService }] = await Promise.all([
    import('../daemon/serve.ts'),
    import('../telemetry/log.ts'),
    import('../tenants/state-lock.ts'),
    import('../daemon/notify.ts'),
  ])
  const log = createLog({ level: options.logLevel, human: process.stderr.isTTY, fd: 2 })
  const { resolve } = await import('node:path')
  const file = resolve(options.config)
  // A working directory on some file system would keep that one busy for as long as we serve.
  process.chdir('/')
  const jail = options.unsafeNoJail ? 'unsafe-none' : 'bubblewrap'
  const daemon = await startServing({ configuration, jail, log }).catch((error: unknown) => {
    if (error instanceof StateInUse) throw new CliError(EXIT.failed, error.message)
    throw error
  })

  let reads = 0
  const note = (error: string | undefined): Promise<void> => {
    reads += 1
    return writeServeRecord(configuration.runtime, { file, reads, error })
  }
  const ended = Promise.withResolvers<void>()
  let stopping = false
  const stop = (): void => {
    // A second signal means that leaving in order takes too long for whoever sent it.
    if (stopping) process.exit(EXIT.interrupted)
    stopping = true
    notifyService('stopping', 'unmounting')
    daemon.close().then(ended.resolve, ended.reject)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  process.on('SIGHUP', () => {
    notifyService('reloading', `reads ${file}`)
    void reload(daemon, file, log)
      .then((error) => note(error))
      .catch((error: unknown) => log.error({ err: error }, 'the record of the daemon'))
      .finally(() => notifyService('ready', summary(daemon)))
  })
  process.once('uncaughtException', (error) => {
    // Mounts without a server answer nobody: better none. The timer is for a broken tear-down.
    log.fatal({ err: error }, 'an unexpected error; unmounting')
    setTimeout(() => process.exit(EXIT.failed), 5_000).unref()
    void daemon.close().finally(() => process.exit(EXIT.failed))
  })
  await note(undefined)
  notifyService('ready', summary(daemon))
  process.stdout.write(`insitu: ${summary(daemon)}\n`)
  await ended.promise
  await removeServeRecord(configuration.runtime)
  process.exit(EXIT.done)
}

/** A file with mistakes changes nothing, and says so. */
async function reload(daemon: ServeDaemon, file: string, log: Logger): Promise<string | undefined> {
  try {
    const { loadConfiguration } = await import('../config/file.ts')
    const { configuration, mistakes } = await loadConfiguration(file)
    for (const mistake of mistakes ?? []) log.error(describe(file, mistake))
    if (configuration === undefined) {
      log.error({ file }, 'the file has mistakes: everything stays as it was')
      return `${file} has mistakes: everything stays as it was`
    }
    await daemon.reload(configuration)
    log.info({ file }, 'read the configuration again')
    return undefined
  } catch (error) {
    log.error({ err: error, file }, 'the configuration was not read again')
    return error instanceof Error ? error.message : String(error)
  }
}

function summary({ tenants }: ServeDaemon): string {
  const all = tenants.list()
  const serving = all.filter(({ state }) => state === 'serving').length
  return `serves ${serving} of ${all.length} tenants`
}
