/** The entry of `insitu`: one file a command; each loads what it needs only when it is called. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addAudit } from './audit.ts'
import { addCheck } from './check.ts'
import { addCompletion } from './completion.ts'
import { addConfig } from './config.ts'
import { addDoctor } from './doctor.ts'
import { CliError, EXIT, oneLine } from './exit.ts'
import { addGrant } from './grant.ts'
import { addLogs } from './logs.ts'
import { addMount } from './mount.ts'
import { addProgram } from './program.ts'
import { addRun } from './run.ts'
import { addServe } from './serve.ts'
import { addStatus } from './status.ts'
import { addTenant } from './tenant.ts'
import { addTypes } from './types.ts'
import { addUnmount } from './unmount.ts'
import { addVolume } from './volume.ts'
import { addWait } from './wait.ts'

const program = new Command('insitu')
  .description('A userspace filesystem that computes in place.')
  .version(version(), '-V, --version')
  .enablePositionalOptions()
  .showSuggestionAfterError(false) // errors are one line
  .addHelpText(
    'after',
    `
Example:
  $ insitu mount ~/logs /mnt/logs --detach
  $ cp top-errors.js /mnt/logs/.compute
  $ cat /mnt/logs/.results/top.json
  $ insitu unmount /mnt/logs

Exit codes: 0 done, 1 failed, 2 usage, 3 the program's error, 4 refused by policy, 5 over a limit,
69 not available here, 124 timed out, 130 interrupted.`,
  )

const commands = [
  addMount,
  addUnmount,
  addRun,
  addCheck,
  addTypes,
  addStatus,
  addWait,
  addLogs,
  addProgram,
  addServe,
  addConfig,
  addVolume,
  addGrant,
  addAudit,
  addTenant,
  addDoctor,
  addCompletion,
]
for (const add of commands) add(program)
for (const command of [program, ...program.commands.flatMap((each) => [each, ...each.commands])])
  command.exitOverride().configureOutput({ outputError: usageError })

// A reader that had enough, as `head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? EXIT.done : EXIT.failed)
})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
  const message = error instanceof Error ? error.message : String(error)
  const exitCode = error instanceof CliError ? error.exitCode : EXIT.failed
  process.stderr.write(`insitu: ${oneLine(message)}\n`)
  // The one who detaches us says it in its own name.
  if (process.connected) process.send?.({ failed: message, exitCode })
  if (process.env['INSITU_DEBUG'] !== undefined && error instanceof Error)
    process.stderr.write(`${error.stack}\n`)
  return exitCode
}

function usageError(text: string, write: (line: string) => void): void {
  write(`insitu: ${oneLine(text.replace(/^error: /, '').trim())}; --help shows how\n`)
}

function version(): string {
  const { version } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  ) as { version: string }
  return version
}
