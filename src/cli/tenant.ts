/** `insitu tenant`: who is served. */
import { InvalidArgumentError, type Command } from 'commander'
import type { TenantReport } from '../broker/ports.ts'
import { adminClient, asking, columns, show } from './broker-client.ts'
import { confirm } from './confirm.ts'
import { formatDuration } from '../config/units.ts'
import { CliError, EXIT } from './exit.ts'
import { example } from './options.ts'
import { addTenantCert } from './tenant-cert.ts'

/** Of what takes a moment. */
const LONG_MS = 1_000

interface Common {
  readonly json?: true
}

interface AddOptions extends Common {
  readonly ids: { readonly first: number; readonly count: number }
  readonly label: Readonly<Record<string, string>>
  readonly locality?: string
}

export function addTenant(program: Command): void {
  const tenant = program.command('tenant').description('the tenants of "insitu serve"')
  tenant
    .command('add')
    .description('make the home, the mount and the endpoint of a tenant')
    .argument('<name>')
    .requiredOption('--ids <range>', 'its host uids and gids, as 100000-165535', range)
    .option('--label <key=value>', 'may be given again', label, {})
    .option('--locality <name>', 'where it runs')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu tenant add acme --ids 100000-165535'))
    .action(async (name: string, { json, ids, label, locality }: AddOptions) => {
      const body = { name, ids, labels: label, ...(locality === undefined ? {} : { locality }) }
      const report = await asking(() => adminClient().json<TenantReport>('/tenants', { body }))
      show(
        report,
        json,
        () => `${name} is served at ${report.mountPoint}, its endpoint is ${report.endpoint}\n`,
      )
    })
  tenant
    .command('remove')
    .description('take a tenant’s grants, mount and endpoint away; its data is kept')
    .argument('<name>')
    .option('--purge', 'remove its data too')
    .option('-y, --yes', 'do not ask')
    .addHelpText('after', example('$ insitu tenant remove acme --purge --yes'))
    .action(async (name: string, options: Common & { purge?: true; yes?: true }) => {
      if (!options.yes)
        await confirm(
          name,
          options.purge ? 'its grants, its mount and all its data' : 'its grants and its mount',
        )
      const query = options.purge ? '?purge=true' : ''
      const path = `/tenants/${encodeURIComponent(name)}${query}`
      await asking(() => adminClient().json(path, { method: 'DELETE' }))
      process.stdout.write(`${name} is removed${options.purge ? ' with its data' : ''}\n`)
    })
  tenant
    .command('list')
    .description('show all tenants')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu tenant list'))
    .action(async ({ json }: Common) => {
      const tenants = await listed()
      const rows = tenants.map((each) => [
        each.name,
        idsOf(each),
        each.state,
        each.mountPoint,
        each.endpoint,
      ])
      const head = ['TENANT', 'IDS', 'STATE', 'MOUNT POINT', 'ENDPOINT']
      show(tenants, json, () =>
        rows.length === 0 ? 'there are no tenants\n' : columns(head, rows),
      )
    })
  tenant
    .command('show')
    .description('show one tenant')
    .argument('<name>')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu tenant show acme'))
    .action(async (name: string, { json }: Common) => {
      const found = (await listed()).find((each) => each.name === name)
      if (found === undefined) throw new CliError(EXIT.failed, `there is no tenant ${name}`)
      show(found, json, () => describe(found))
    })
  addTenantCert(tenant)
}

async function listed(): Promise<readonly TenantReport[]> {
  const answer = await asking(() => adminClient().json<{ tenants: TenantReport[] }>('/tenants'))
  return answer.tenants
}

function describe(tenant: TenantReport): string {
  const labels = Object.entries(tenant.labels).map(([key, value]) => `${key}=${value}`)
  const lines: [string, string | undefined][] = [
    ['tenant', tenant.name],
    ['state', tenant.state],
    ['error', tenant.error],
    ['ids', idsOf(tenant)],
    ['mount point', tenant.mountPoint],
    ['endpoint', tenant.endpoint],
    ['locality', tenant.locality],
    ['labels', labels.join(', ')],
    ['held up', heldUp(tenant)],
  ]
  return lines
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => `${name.padEnd(12)} ${value}\n`)
    .join('')
}

/** Notices take a moment; whoever holds one up is the tenant's own. */
function heldUp({ noticeMs }: TenantReport): string {
  if (noticeMs < LONG_MS) return ''
  return `a process holds a directory for ${formatDuration(noticeMs)}; until it ends, changes in this mount may show late`
}

function idsOf({ ids: { first, count } }: TenantReport): string {
  return count === 1 ? String(first) : `${first}-${first + count - 1}`
}

function range(text: string): AddOptions['ids'] {
  const [, from, to] = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(text) ?? []
  const first = Number(from)
  const count = Number(to ?? from) - first + 1
  if (from === undefined || first < 1 || count < 1)
    throw new InvalidArgumentError('Give a range above 0, as 100000-165535.')
  return { first, count }
}

function label(text: string, before: AddOptions['label']): AddOptions['label'] {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('Give a label as key=value.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}
