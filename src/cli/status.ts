/** `insitu status`: running mounts, or one directory's program. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { InsituClient } from '../broker/client.ts'
import type { TenantReport } from '../broker/ports.ts'
import type { ProgramStatus } from '../compute/types.ts'
import { adminSocket, currentEnvironment, runtimeDirectories } from '../config/paths.ts'
import { formatDuration, formatSize } from '../config/units.ts'
import { askJson } from '../daemon/control-client.ts'
import type { MountReport } from '../daemon/control-types.ts'
import type { MountRecord } from '../daemon/registry.ts'
import { readServeRecord } from '../daemon/serve-record.ts'
import { CliError } from './exit.ts'
import { locate, locateDirectory, runningMounts, type Located } from './locate.ts'
import { example } from './options.ts'
import { readStatus } from './program-files.ts'
import { describeRun, table } from './terminal.ts'

const REFRESH_MS = 500

interface StatusOptions {
  readonly watch?: true
  readonly json?: true
}

export function addStatus(program: Command): void {
  program
    .command('status')
    .description('show running mounts, or the program of the directory PATH')
    .argument('[path]', 'a directory on a mount')
    .option('-w, --watch', 'show it again whenever it changes, until interrupted')
    .option('--json', 'as JSON; with --watch one line a change')
    .addHelpText('after', example('$ insitu status', '$ insitu status /mnt/logs --watch'))
    .action(async (place: string | undefined, options: StatusOptions) => {
      const render = place === undefined ? allMounts : await onePlace(place)
      if (options.watch) await watch(render, options)
      else process.stdout.write(await render(options))
    })
}

type Render = (options: StatusOptions) => Promise<string>

async function watch(render: Render, options: StatusOptions): Promise<void> {
  let last: string | undefined
  for (;;) {
    const text = await render(options)
    if (text !== last) {
      const clear = process.stdout.isTTY && !options.json ? '\u001b[H\u001b[J' : ''
      process.stdout.write(clear + text)
      last = text
    }
    await sleep(REFRESH_MS)
  }
}

const allMounts: Render = async ({ json, watch }) => {
  const mounts = await Promise.all((await runningMounts()).map(reportOf))
  const tenants = await tenantMounts()
  if (json) return toJson([...mounts, ...tenants], watch)
  if (mounts.length + tenants.length === 0) return 'nothing is mounted\n'
  const rows = mounts.map((mount) => [
    mount.mountPoint,
    mount.backing,
    String(mount.pid),
    'programs' in mount ? String(mount.programs) : '-',
    'sandbox' in mount ? String(mount.sandbox.runs) : '-',
    'negotiated' in mount ? dataPath(mount.negotiated) : '-',
  ])
  for (const { mountPoint, tenant, state, pid } of tenants)
    rows.push([mountPoint, `tenant ${tenant}, ${state}`, String(pid), '-', '-', '-'])
  return table(['MOUNT POINT', 'DIRECTORY', 'PID', 'PROGRAMS', 'RUNNING', 'DATA'], rows)
}

interface TenantMount extends Pick<TenantReport, 'mountPoint' | 'state' | 'error'> {
  readonly tenant: string
  readonly pid: number
}

/** Of the daemon of many tenants, who tells root alone. */
async function tenantMounts(): Promise<TenantMount[]> {
  const found: TenantMount[] = []
  for (const directory of runtimeDirectories(currentEnvironment())) {
    const daemon = await readServeRecord(directory)
    if (daemon === undefined) continue
    const answer = await new InsituClient(adminSocket(directory))
      .json<{ tenants: readonly TenantReport[] }>('/tenants')
      .catch(() => undefined)
    for (const { name, mountPoint, state, error } of answer?.tenants ?? [])
      found.push({ mountPoint, tenant: name, state, error, pid: daemon.pid })
  }
  return found
}

function dataPath({ server, passthrough }: MountReport['negotiated']): string {
  if (server === 'fuse-native') return server
  return passthrough ? 'passthrough' : 'threads'
}

/** Other users' mounts tell only what their record says. */
async function reportOf(mount: MountRecord): Promise<MountRecord | MountReport> {
  return await askJson<MountReport>(mount.socket, 'GET', '/status').catch(() => mount)
}

async function onePlace(place: string): Promise<Render> {
  const directory = await locateDirectory(place)
  return async (options) => {
    const status = await readStatus(directory)
    if (status !== undefined) return renderProgram(directory, status, options)
    const located = await locate(place).catch((error: unknown) => {
      if (!(error instanceof CliError)) throw error
      return undefined // a tenant's mount
    })
    if (located !== undefined) return await renderMount(located, options)
    return options.json
      ? toJson({ directory, program: null }, options.watch)
      : `directory  ${directory}\nstate      no program is attached\n`
  }
}

function renderProgram(
  directory: string,
  status: ProgramStatus,
  { json, watch }: StatusOptions,
): string {
  if (json) return toJson({ directory, ...status }, watch)
  const lines: [string, string | undefined][] = [
    ['directory', directory],
    // While it runs, the time passes: a watch shows that too.
    ['state', describeRun(status)],
    ['program', `${status.program.slice(0, 16)}, attached ${status.attachedAt}`],
    ['principal', `uid ${status.principal.uid}, gid ${status.principal.gid}`],
    ['last run', status.endedAt && [status.endedAt, ...usage(status)].join(', ')],
    ['inputs', String(status.inputs)],
    [
      'results',
      status.results.map((each) => `${each.name} (${formatSize(each.sizeBytes)})`).join(', '),
    ],
  ]
  return lines
    .filter(([, value]) => value !== undefined && value !== '')
    .map(([name, value]) => `${name.padEnd(10)} ${value}\n`)
    .join('')
}

function usage({ wallMs, cpuMs, peakMemoryBytes }: ProgramStatus): string[] {
  const parts: string[] = []
  if (wallMs !== undefined) parts.push(`took ${formatDuration(wallMs)}`)
  if (cpuMs !== undefined) parts.push(`cpu ${formatDuration(cpuMs)}`)
  if (peakMemoryBytes !== undefined) parts.push(`memory ${formatSize(peakMemoryBytes)}`)
  return parts
}

async function renderMount(
  { mount, directory }: Located,
  { json, watch }: StatusOptions,
): Promise<string> {
  const report = await reportOf(mount)
  if (json) return toJson({ directory, program: null, mount: report }, watch)
  const lines = [
    `directory  ${directory}`,
    `state      no program is attached`,
    `mount      ${mount.mountPoint}, serving ${mount.backing}, pid ${mount.pid}`,
  ]
  if ('negotiated' in report) {
    const { negotiated, statistics } = report
    const data = negotiated.passthrough
      ? 'passthrough'
      : `${dataPath(negotiated)} (no passthrough: ${negotiated.passthroughReason})`
    lines.push(
      `server     ${negotiated.server}`,
      `data       ${data}`,
      `protocol   ${negotiated.protocol}, ${negotiated.threads} threads`,
    )
    lines.push(`programs   ${report.programs}`, `waiting    ${statistics.waiting}`)
  }
  return lines.map((line) => `${line}\n`).join('')
}

function toJson(value: unknown, lines: boolean | undefined): string {
  return `${JSON.stringify(value, undefined, lines ? undefined : 2)}\n`
}
