/** `insitu doctor`: what this machine lacks, what that means, and how to mend it. */
import type { Command } from 'commander'
import { CliError, EXIT, oneLine } from './exit.ts'
import { example } from './options.ts'
import type { Finding } from './doctor/finding.ts'

const MARKS: Record<Finding['status'], string> = { ok: 'ok  ', note: 'note', missing: 'MISS' }

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('check what this machine offers: what is missing, what it means, how to mend it')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu doctor'))
    .action(doctor)
}

async function doctor(options: { readonly json?: true }): Promise<void> {
  const { machineChecks } = await import('./doctor/machine.ts')
  const { mountChecks } = await import('./doctor/mounting.ts')
  // Needs the addon to be asked at all; that it is missing is said by then.
  const sandboxChecks = async (): Promise<Finding[]> => {
    const checks = await import('./doctor/sandbox.ts').catch(() => undefined)
    return (await checks?.sandboxChecks()) ?? []
  }
  const findings: Finding[] = []
  for (const checks of [machineChecks, mountChecks, sandboxChecks]) {
    for (const finding of await checks()) {
      findings.push(finding)
      if (!options.json) process.stdout.write(render(finding))
    }
  }
  if (options.json) process.stdout.write(`${JSON.stringify(findings, undefined, 2)}\n`)
  const missing = findings.filter(({ status }) => status === 'missing')
  if (missing.length > 0)
    throw new CliError(
      EXIT.unavailable,
      `cannot work here: ${missing.map(({ name }) => name).join(', ')}; see how to mend it above`,
    )
}

function render({ name, status, found, meaning, mend }: Finding): string {
  const lines = [`${MARKS[status]}  ${name.padEnd(18)} ${oneLine(found)}`]
  if (meaning !== undefined) lines.push(`${' '.repeat(25)}${oneLine(meaning)}`)
  if (mend !== undefined) lines.push(`${' '.repeat(25)}mend: ${oneLine(mend)}`)
  return lines.map((line) => `${line}\n`).join('')
}
