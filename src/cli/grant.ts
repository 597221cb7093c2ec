/** `insitu grant`: what is mounted for tenants. */
import type { Command } from 'commander'
import type { Grant, InsituClient } from '../broker/client.ts'
import { adminClient, asking, columns, placeOf, show, tenantClient } from './broker-client.ts'
import { CliError, EXIT } from './exit.ts'

interface Flags {
  readonly tenant?: string
  readonly json?: true
}

interface Shown {
  readonly grant: Grant
  readonly holders: readonly { pid: number; uid: number; command: string; how: string }[]
}

export function addGrant(program: Command): void {
  const grant = program.command('grant').description('grants: what is mounted for tenants')
  grant
    .command('list')
    .description('as operator all of them, or those of a tenant')
    .option('--tenant <name>', 'whose')
    .option('--json', 'as JSON')
    .action(async (flags: Flags) =>
      asking(async () => {
        const grants = await list(flags)
        show(grants, flags.json, () => render(grants))
      }),
    )
  grant
    .command('show')
    .description('one grant, and who holds it')
    .argument('<id>')
    .option('--json', 'as JSON')
    .action(async (id: string, { json }: Flags) =>
      asking(async () => {
        const shown = await adminClient().json<Shown>(place(id))
        show(shown, json, () => renderOne(shown))
      }),
    )
  grant
    .command('revoke')
    .description('take a grant away, also from open files')
    .argument('<id>')
    .option('--json', 'as JSON')
    .action(async (id: string, { json }: Flags) =>
      asking(async () => {
        const { revoked } = await adminClient().json<{ revoked?: Grant }>(place(id), {
          method: 'DELETE',
        })
        if (revoked === undefined) throw new CliError(EXIT.failed, `there is no grant ${id}`)
        show(
          revoked,
          json,
          () => `${revoked.volume} left ${placeOf(revoked)} of ${revoked.tenant}\n`,
        )
      }),
    )
}

function place(id: string): string {
  return `/grants/${encodeURIComponent(id)}`
}

async function list({ tenant }: Flags): Promise<Grant[]> {
  if (process.getuid?.() !== 0) return await (await tenantClient(tenant)).grants()
  const client: InsituClient = adminClient()
  const query = tenant === undefined ? '' : `?tenant=${encodeURIComponent(tenant)}`
  return (await client.json<{ grants: Grant[] }>(`/grants${query}`)).grants
}

function render(grants: readonly Grant[]): string {
  if (grants.length === 0) return 'nothing is mounted\n'
  return columns(
    ['GRANT', 'TENANT', 'VOLUME', 'AT', 'MODE', 'STATE', 'EXPIRES'],
    grants.map((each) => [
      each.id,
      each.tenant,
      each.subpath === '' ? each.volume : `${each.volume}/${each.subpath}`,
      placeOf(each),
      each.mode,
      each.state,
      each.expiresAt,
    ]),
  )
}

function renderOne({ grant, holders }: Shown): string {
  const { inside: _, ...plain } = grant
  const lines = Object.entries({ ...plain, at: placeOf(grant) }).map(([name, value]) => [
    name,
    value,
  ])
  const held = holders.map(({ pid, command, how }) => ['held by', `${command} (${pid}), ${how}`])
  return columns(['FIELD', 'VALUE'], [...lines, ...held])
}
