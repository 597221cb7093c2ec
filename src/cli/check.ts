/** `insitu check`: does a program compile? */
import type { Command } from 'commander'
import { DEFAULT_RUN_LIMITS, LOCAL_TENANT } from '../config/limits.ts'
import type { CheckOutcome } from '../sandbox/types.ts'
import { CliError, EXIT } from './exit.ts'
import { example, unsafeOption } from './options.ts'
import { currentPrincipal, describeGuestError, readProgram } from './source.ts'

interface CheckOptions {
  readonly json?: true
  readonly unsafeNoJail?: true
}

export function addCheck(program: Command): void {
  program
    .command('check')
    .description('compile PROGRAM as .compute would, and run nothing of it')
    .argument('<program>', 'JavaScript or TypeScript; - is standard input')
    .option('--json', 'print the outcome as JSON')
    .addOption(unsafeOption())
    .addHelpText(
      'after',
      example('$ insitu check top-errors.js && cp top-errors.js /mnt/logs/.compute'),
    )
    .action(check)
}

async function check(file: string, options: CheckOptions): Promise<void> {
  const limits = DEFAULT_RUN_LIMITS
  const source = await readProgram(file, limits.programBytes)
  const { openSandbox } = await import('../daemon/engine.ts')
  await using scope = await openSandbox(options.unsafeNoJail ? 'unsafe-none' : 'bubblewrap')
  const principal = currentPrincipal()
  const outcome = await scope.sandbox.check({ tenant: LOCAL_TENANT, principal, source, limits })
  if (options.json) process.stdout.write(`${JSON.stringify(outcome, undefined, 2)}\n`)
  const error = refusal(file, outcome)
  if (error !== undefined) throw error
}

function refusal(file: string, outcome: CheckOutcome): CliError | undefined {
  switch (outcome.status) {
    case 'ok':
      return undefined
    case 'failed':
      return new CliError(EXIT.program, describeGuestError(file, outcome.error))
    case 'over-limit':
      return new CliError(EXIT.overLimit, `${file}: ${outcome.message}`)
    case 'crashed':
      return new CliError(EXIT.program, `${file}: ${outcome.message}`)
    case 'unavailable':
      return new CliError(EXIT.unavailable, outcome.message)
  }
}
