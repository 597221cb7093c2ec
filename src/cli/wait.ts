/** `insitu wait`: returns when a directory's results are fresh. */
import { spawn } from 'node:child_process'
import path from 'node:path'
import type { Command } from 'commander'
import type { ProgramStatus } from '../compute/types.ts'
import { CliError, EXIT, oneLine } from './exit.ts'
import { locateDirectory } from './locate.ts'
import { duration, example } from './options.ts'
import { exitCodeOf, noProgram, readControl, readStatus } from './program-files.ts'
import { describeError, describeRun, showProgress } from './terminal.ts'

interface WaitOptions {
  readonly timeout?: number
  readonly json?: true
}

export function addWait(program: Command): void {
  program
    .command('wait')
    .description('wait until the results of the directory PATH are fresh')
    .argument('<path>', 'a directory with a program')
    .option('--timeout <duration>', 'give up after that long, with exit code 124', duration)
    .option('--json', 'print the status when it is done')
    .addHelpText('after', example('$ insitu wait /mnt/logs && cat /mnt/logs/.results/top.json'))
    .action(wait)
}

async function wait(place: string, options: WaitOptions): Promise<void> {
  const directory = await locateDirectory(place)
  if ((await readStatus(directory)) === undefined) throw noProgram(directory)
  const stopProgress = showProgress(async () => {
    const status = await readStatus(directory)
    return status === undefined ? 'waiting' : describeRun(status)
  })
  const looked = await look(directory, options.timeout).finally(stopProgress)
  if (looked === 'timed out')
    throw new CliError(
      EXIT.timedOut,
      `no fresh results of ${directory} in time: try a longer --timeout`,
    )

  const status = await readStatus(directory)
  if (status === undefined) throw noProgram(directory)
  if (options.json) process.stdout.write(`${JSON.stringify(status, undefined, 2)}\n`)
  // Somebody else's look may have begun another run since.
  if (looked === 'fresh') return
  throw await problem(directory, status)
}

/**
 * Opening the listing is what waits for a fresh run. A child does it: a thread of ours that sits in
 * the kernel would keep this process from ending when the time is over.
 */
async function look(
  directory: string,
  timeoutMs: number | undefined,
): Promise<'fresh' | 'failed' | 'timed out'> {
  const child = spawn('ls', ['-f', '--', path.join(directory, '.results')], { stdio: 'ignore' })
  let timedOut = false
  const timer = timeoutMs === undefined ? undefined : setTimeout(giveUp, timeoutMs)
  function giveUp(): void {
    timedOut = true
    child.kill('SIGKILL')
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', resolve)
  }).finally(() => clearTimeout(timer))
  if (timedOut) return 'timed out'
  return code === 0 ? 'fresh' : 'failed'
}

async function problem(directory: string, status: ProgramStatus): Promise<CliError> {
  const code = exitCodeOf(status)
  if (status.error !== undefined)
    return new CliError(code === EXIT.done ? EXIT.program : code, describeError(status.error))
  const text = oneLine((await readControl(directory, '.error'))?.trim() ?? '')
  const why = text === '' ? `its state is "${status.state}"` : text
  return new CliError(code === EXIT.done ? EXIT.failed : code, `no fresh results: ${why}`)
}
