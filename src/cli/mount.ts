/** `insitu mount`: serves a directory until it is unmounted. */
import { spawn, type ChildProcess } from 'node:child_process'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { Option, type Command } from 'commander'
import { currentEnvironment, runtimeDirectory, stateDirectory } from '../config/paths.ts'
import type { startDaemon as StartDaemon } from '../daemon.ts'
import type { FileServerName } from '../file-server/types.ts'
import type { LogLevel } from '../telemetry/log.ts'
import { CliError, EXIT, oneLine, type ExitCode } from './exit.ts'
import { example, limitsFrom, memoryOption, timeoutOption, unsafeOption } from './options.ts'
import type { LimitOptions } from './options.ts'
import { checkFuse, checkPlaces, makeState, type MountPlaces } from './preflight.ts'

interface MountCommandOptions extends LimitOptions {
  readonly detach?: true
  readonly state?: string
  readonly exclusive?: true
  readonly allowOther?: true
  readonly listReserved?: true
  readonly fileServer: FileServerName
  readonly sharedBacking?: true
  readonly unsafeNoJail?: true
  readonly logLevel: LogLevel
}

export function addMount(program: Command): void {
  program
    .command('mount')
    .description('serve DIRECTORY at MOUNTPOINT; programs written to .compute there run in place')
    .argument('<directory>', 'the directory of ordinary files')
    .argument('<mountpoint>', 'an empty directory outside of it')
    .option('-d, --detach', 'return once it is ready; the log goes to the state directory')
    .option('--state <dir>', 'keep programs and results there')
    .addOption(timeoutOption())
    .addOption(memoryOption())
    .option('--exclusive', 'nothing else changes the directory: cache for long')
    .option('--allow-other', 'other users may use the mount, with their own rights')
    .option('--list-reserved', 'show .compute and .results in listings')
    .addOption(
      new Option('--file-server <name>', 'fuse-native: for x64 hosts where the native one fails')
        .choices(['native', 'fuse-native'])
        .default('native'),
    )
    .addOption(
      new Option(
        '--shared-backing',
        'locks reach the directory: they also hold against its other users',
      ).conflicts('exclusive'),
    )
    .addOption(unsafeOption())
    .addOption(
      new Option('--log-level <level>', 'least severe messages to log')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .addHelpText('after', example('$ insitu mount ~/logs /mnt/logs --detach'))
    .action(async (directory: string, mountPoint: string, options: MountCommandOptions) => {
      if (options.allowOther && options.fileServer === 'fuse-native')
        throw new CliError(
          EXIT.usage,
          '--allow-other needs the native file server: fuse-native cannot tell users apart',
        )
      if (options.detach) await mountDetached(directory, mountPoint, options)
      else await mountHere(directory, mountPoint, options)
    })
}

async function mountHere(
  directory: string,
  mountPoint: string,
  options: MountCommandOptions,
): Promise<void> {
  const environment = currentEnvironment()
  await checkFuse(environment.uid, options.allowOther === true)
  const places = await checkPlaces(directory, mountPoint)
  const state = await statePlace(options, places)

  const [startDaemon, { createLog }, { StateInUse }] = await Promise.all([
    daemonFor(options.fileServer),
    import('../telemetry/log.ts'),
    import('../tenants/state-lock.ts'),
  ])
  const log = createLog({
    level: options.logLevel,
    human: process.stderr.isTTY,
    fd: 2,
  })
  if (places.recovered) log.warn(`took away a dead mount at ${places.mountPoint}`)
  // A working directory on some file system would keep that one busy for as long as we serve.
  process.chdir('/')
  const daemon = await startDaemon({
    backing: places.backing,
    mountPoint: places.mountPoint,
    stateDirectory: state,
    runtimeDirectory: runtimeDirectory(environment),
    exclusive: options.exclusive === true,
    allowOther: options.allowOther === true,
    listReserved: options.listReserved === true,
    fileServer: options.fileServer,
    sharedBacking: options.sharedBacking === true,
    jail: options.unsafeNoJail ? 'unsafe-none' : 'bubblewrap',
    limits: limitsFrom(options),
    log,
  }).catch((error: unknown) => {
    if (error instanceof StateInUse)
      throw new CliError(
        EXIT.failed,
        `${error.message}: unmount it there, or choose another --state`,
      )
    throw error
  })

  let stopping = false
  const stop = (signal: NodeJS.Signals) => {
    // A second signal means that leaving in order takes too long for whoever sent it.
    if (stopping) process.exit(EXIT.interrupted)
    stopping = true
    log.debug({ signal }, 'unmounting')
    daemon.close().catch((error: unknown) => {
      log.error({ err: error }, 'the unmount failed')
      process.exit(EXIT.failed)
    })
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop)
  process.once('uncaughtException', (error) => {
    // A mount without a server answers nobody: better none. The timer is for a broken tear-down.
    log.fatal({ err: error }, 'an unexpected error; unmounting')
    setTimeout(() => process.exit(EXIT.failed), 5_000).unref()
    void daemon.close().finally(() => process.exit(EXIT.failed))
  })

  announce(`insitu: ${places.backing} is mounted at ${places.mountPoint}`)
  await daemon.ended
  process.exit(EXIT.done)
}

/** Without the addon the fallback serves ordinary files, and refuses programs. */
async function daemonFor(fileServer: FileServerName): Promise<typeof StartDaemon> {
  try {
    return (await import('../daemon.ts')).startDaemon
  } catch (cause) {
    const why = cause instanceof Error ? oneLine(cause.message) : String(cause)
    if (fileServer === 'native')
      throw new CliError(
        EXIT.unavailable,
        `the addon does not load (${why}): see "insitu doctor", or serve ordinary files alone with --file-server fuse-native`,
        { cause },
      )
    return (await import('../daemon/ordinary.ts')).startOrdinaryDaemon
  }
}

/** The one line when ready: to the parent that detaches us, else to stdout. */
function announce(line: string): void {
  if (process.send === undefined) process.stdout.write(`${line}\n`)
  else {
    process.send({ ready: line })
    process.disconnect()
  }
}

async function statePlace({ state }: MountCommandOptions, places: MountPlaces): Promise<string> {
  return await makeState(state ?? stateDirectory(places.backing, currentEnvironment()), places)
}

/** Runs the same command without --detach in a session of its own, and returns when it is ready. */
async function mountDetached(
  directory: string,
  mountPoint: string,
  options: MountCommandOptions,
): Promise<void> {
  const environment = currentEnvironment()
  await checkFuse(environment.uid, options.allowOther === true)
  const places = await checkPlaces(directory, mountPoint)
  const state = await statePlace(options, places)
  const logFile = path.join(state, 'log')
  const log = await open(logFile, 'a', 0o600)

  const args = process.argv.slice(2).filter((arg) => arg !== '--detach' && arg !== '-d')
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', ...args], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  })
  await log.close()
  const outcome = await firstWord(child, logFile)
  if (outcome.ready === undefined)
    throw new CliError(outcome.exitCode ?? EXIT.failed, oneLine(outcome.failed ?? 'not mounted'))
  process.stdout.write(`${outcome.ready}, log in ${logFile}\n`)
  child.unref()
}

interface Outcome {
  readonly ready?: string
  readonly failed?: string
  readonly exitCode?: ExitCode
}

/** What the daemon says first; if it ends without a word, that. */
function firstWord(child: ChildProcess, logFile: string): Promise<Outcome> {
  return new Promise((resolve) => {
    child.once('message', (message) => resolve(message as Outcome))
    child.once('error', (error) => resolve({ failed: error.message }))
    // `exit` can overtake a message; `disconnect` cannot.
    child.once('disconnect', () => resolve({ failed: `the daemon ended at once; see ${logFile}` }))
  })
}
