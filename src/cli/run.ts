/** `insitu run`: the engine and sandbox of a mount, once, without one. */
import { copyFile, mkdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import type { Evaluation } from '../compute/types.ts'
import { RunError, type RunFailure } from '../compute/run-error.ts'
import { makeDirectories } from '../config/directories.ts'
import { formatDuration } from '../config/units.ts'
import type { RunLimits } from '../sandbox/types.ts'
import { CliError, EXIT, type ExitCode } from './exit.ts'
import { example, limitsFrom, memoryOption, timeoutOption, unsafeOption } from './options.ts'
import type { LimitOptions } from './options.ts'
import { currentPrincipal, describeGuestError, readProgram } from './source.ts'
import { showProgress } from './terminal.ts'

interface RunOptions extends LimitOptions {
  readonly out?: string
  readonly json?: true
  readonly unsafeNoJail?: true
}

export function addRun(program: Command): void {
  program
    .command('run')
    .description('run PROGRAM once over DIRECTORY, without a mount; the result goes to stdout')
    .argument('<program>', 'JavaScript or TypeScript; - is standard input')
    .argument('<directory>')
    .option('-o, --out <dir>', 'write every result into this directory')
    .option('--json', 'print names, sizes and usage as JSON; needs --out')
    .addOption(timeoutOption())
    .addOption(memoryOption())
    .addOption(unsafeOption())
    .addHelpText('after', example('$ insitu run top-errors.js ~/logs --out /tmp/report'))
    .action(run)
}

async function run(file: string, directory: string, options: RunOptions): Promise<void> {
  if (options.json && options.out === undefined)
    throw new CliError(EXIT.usage, '--json describes what --out wrote: give --out too')
  const limits = limitsFrom(options)
  const source = await readProgram(file, limits.programBytes)
  const backing = await realpath(directory).catch((cause: NodeJS.ErrnoException) => {
    throw new CliError(
      EXIT.failed,
      `the directory ${directory} cannot be used (${cause.code}): check its path and permissions`,
    )
  })
  const { openEngine } = await import('../daemon/engine.ts')
  const jail = options.unsafeNoJail ? 'unsafe-none' : 'bubblewrap'
  await using engine = await openEngine({ backing, jail, limits })
  const folder = path.join(engine.scratch, 'results')
  await mkdir(folder)

  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => interrupt.abort(new Error(signal)))
  const started = Date.now()
  const stopProgress = showProgress(() => `running ${formatDuration(Date.now() - started)}`)
  const evaluation = await engine.compute
    .evaluate(await engine.volume.keyOf(''), source, currentPrincipal(), {
      folder,
      signal: interrupt.signal,
      onLog: (text) => process.stderr.write(text),
    })
    .catch((error: unknown) => {
      throw interrupt.signal.aborted
        ? new CliError(EXIT.interrupted, 'interrupted; nothing was written')
        : explain(file, error, limits)
    })
    .finally(stopProgress)
  await deliver(evaluation, folder, options)
}

async function deliver(
  { results, usage }: Evaluation,
  folder: string,
  { out, json }: RunOptions,
): Promise<void> {
  if (out !== undefined) {
    await makeOut(out)
    for (const { name } of results) await place(path.join(folder, name), out, name)
    if (json) process.stdout.write(`${JSON.stringify({ out, results, usage }, undefined, 2)}\n`)
    return
  }
  const [only] = results
  if (only === undefined) {
    process.stderr.write('insitu: the program gave no result: return or emit something\n')
    return
  }
  if (results.length > 1) {
    const names = results.map(({ name }) => name)
    const few = names.length > 10 ? [...names.slice(0, 10), '…'] : names
    throw new CliError(
      EXIT.usage,
      `the program gave ${names.length} results (${few.join(', ')}): name a directory for them with --out`,
    )
  }
  process.stdout.write(await readFile(path.join(folder, only.name)))
}

async function makeOut(out: string): Promise<void> {
  try {
    await makeDirectories(out)
    if ((await stat(out)).isDirectory()) return
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new CliError(EXIT.failed, `${out} cannot be made (${code}): choose another --out`, {
      cause,
    })
  }
  throw new CliError(EXIT.failed, `${out} is not a directory: choose another --out`)
}

/** A reader sees the result whole or not at all. */
async function place(from: string, out: string, name: string): Promise<void> {
  const partial = path.join(out, `.insitu-${process.pid}`)
  try {
    await copyFile(from, partial)
    await rename(partial, path.join(out, name))
  } catch (cause) {
    await rm(partial, { force: true })
    const { code } = cause as NodeJS.ErrnoException
    throw new CliError(EXIT.failed, `${path.join(out, name)} cannot be written (${code})`, {
      cause,
    })
  }
}

function explain(file: string, error: unknown, limits: RunLimits): unknown {
  if (!(error instanceof RunError)) return error
  const { failure } = error
  const text = describeGuestError(file, failure)
  const hint =
    failure.limit === 'wall' || failure.limit === 'cpu'
      ? `; give it longer than ${formatDuration(limits.wallMs)} with --timeout`
      : failure.limit === 'memory'
        ? '; give it more with --memory'
        : ''
  return new CliError(EXIT_OF_FAILURE[failure.kind], `${text}${hint}`, { cause: error })
}

const EXIT_OF_FAILURE: Record<RunFailure['kind'], ExitCode> = {
  compile: EXIT.program,
  program: EXIT.program,
  limit: EXIT.overLimit,
  'inputs-changed': EXIT.failed,
  crashed: EXIT.program,
  unavailable: EXIT.unavailable,
  cancelled: EXIT.interrupted,
  store: EXIT.failed,
  rights: EXIT.failed,
  revoked: EXIT.failed,
}
