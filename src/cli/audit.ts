/** `insitu audit`: who did what, and what was refused. */
import { InvalidArgumentError, type Command } from 'commander'
import { adminClient, asking, columns, show } from './broker-client.ts'

interface Flags {
  readonly tenant?: string
  readonly action?: string
  readonly outcome?: string
  readonly limit: number
  readonly json?: true
}

interface Entry {
  readonly at: string
  readonly action: string
  readonly outcome: string
  readonly tenant?: string
  readonly uid?: number
  readonly pid?: number
  readonly subject?: string
  readonly reason?: string
}

export function addAudit(program: Command): void {
  program
    .command('audit')
    .description('decisions, grants, revocations and refusals, newest first')
    .option('--tenant <name>', 'of one tenant')
    .option('--action <action>', 'as mount, unmount, revoke, connect')
    .option('--outcome <outcome>', 'done, refused or failed')
    .option('--limit <number>', 'how many, at most 1000', count, 50)
    .option('--json', 'as JSON')
    .action(async ({ json, limit, ...filters }: Flags) =>
      asking(async () => {
        const query = new URLSearchParams({ ...filters, limit: String(limit) })
        const { entries } = await adminClient().json<{ entries: Entry[] }>(
          `/audit?${query.toString()}`,
        )
        show(entries, json, () => render(entries))
      }),
    )
}

function render(entries: readonly Entry[]): string {
  return columns(
    ['TIME', 'ACTION', 'OUTCOME', 'TENANT', 'UID', 'PID', 'SUBJECT', 'REASON'],
    entries.map((each) => [
      each.at,
      each.action,
      each.outcome,
      each.tenant,
      each.uid,
      each.pid,
      each.subject,
      each.reason ?? '',
    ]),
  )
}

function count(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= 1_000) return value
  throw new InvalidArgumentError('Give a number from 1 to 1000.')
}
