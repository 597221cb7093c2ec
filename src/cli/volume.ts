/** `insitu volume`: what there is, and what is mounted of it for a tenant. */
import type { Command } from 'commander'
import { setTimeout as sleep } from 'node:timers/promises'
import { InvalidArgumentError, Option } from 'commander'
import { ProblemError } from '../broker/client.ts'
import type { DryRun, Grant, InsituClient, MountRequest, TenantVolume } from '../broker/client.ts'
import { formatSize } from '../config/units.ts'
import {
  adminClient,
  asking,
  columns,
  onlyTenant,
  placeOf,
  show,
  tenantClient,
} from './broker-client.ts'
import { CliError, EXIT, oneLine } from './exit.ts'
import { type ConsumerFlags, consumerOf } from './container.ts'
import { collect, duration, example, keyAndValue, size } from './options.ts'
import { addMaking } from './volume-making.ts'

interface Common {
  readonly tenant?: string
  readonly json?: true
}

export function addVolume(program: Command): void {
  const volume = program.command('volume').description('volumes, and what is mounted of them')
  addList(volume)
  addMount(volume)
  addUnmount(volume)
  addDrain(volume)
  addMaking(volume)
}

function addList(volume: Command): void {
  volume
    .command('list')
    .description('the volumes that the tenant may know of; as operator without --tenant, all')
    .option('--tenant <name>', 'whose')
    .option('--explain', 'what would be chosen for the tenant, and why not the others')
    .addOption(modeOption())
    .option('--json', 'as JSON')
    .action(async (options: Common & { explain?: true; mode: 'ro' | 'rw' }) =>
      asking(async () => {
        if (options.explain) return await listExplained(options)
        if (options.tenant === undefined && process.getuid?.() === 0) return await listAll(options)
        const volumes = await (await tenantClient(options.tenant)).volumes()
        show(volumes, options.json, () => renderVolumes(volumes))
      }),
    )
}

interface AdminVolume {
  readonly name: string
  readonly kind: string
  readonly backing: string
  readonly class: { readonly name: string }
  readonly modes: readonly string[]
  readonly freeBytes: number
  readonly grants: number
  readonly healthy: boolean
  readonly readOnly: boolean
  readonly fault?: string
  readonly draining: boolean
}

async function listAll({ json }: Common): Promise<void> {
  const { volumes } = await adminClient().json<{ volumes: AdminVolume[] }>('/volumes')
  show(volumes, json, () =>
    columns(
      ['VOLUME', 'KIND', 'CLASS', 'MODES', 'FREE', 'GRANTS', 'STATE', 'BACKING'],
      volumes.map((each) => [
        each.name,
        each.kind,
        each.class.name,
        each.modes.join(','),
        formatSize(each.freeBytes),
        each.grants,
        stateOf(each),
        each.backing,
      ]),
    ),
  )
}

async function listExplained({ tenant, mode, json }: Common & { mode: 'ro' | 'rw' }) {
  const client = await tenantClient(tenant)
  const dry = await client.explain({ select: {}, at: 'explained', mode })
  show(dry, json, () => renderExplained(dry))
}

function renderVolumes(volumes: readonly TenantVolume[]): string {
  const verdict = (word: TenantVolume['ro']): string => (word === 'allowed' ? 'yes' : word.code)
  return columns(
    ['VOLUME', 'CLASS', 'FREE', 'STATE', 'RO', 'RW'],
    volumes.map((each) => [
      each.name,
      each.class.name,
      formatSize(each.freeBytes),
      stateOf(each),
      verdict(each.ro),
      verdict(each.rw),
    ]),
  )
}

interface Wellbeing {
  readonly healthy: boolean
  readonly draining: boolean
  readonly readOnly?: boolean
  readonly fault?: string
}

function stateOf({ healthy, draining, readOnly, fault }: Wellbeing): string {
  if (!healthy) return fault === undefined ? 'unhealthy' : `unhealthy: ${fault}`
  if (draining) return 'draining'
  return readOnly ? 'read-only' : 'ok'
}

function renderExplained(dry: DryRun): string {
  const microseconds = (us: number | undefined) => (us === undefined ? us : `${us} µs`)
  const digits = (value: number | undefined): string | undefined => value?.toFixed(3)
  const table = columns(
    [
      'VOLUME',
      'SCORE',
      'SPACE',
      'SERVICE',
      'LOCALITY',
      'LOAD',
      'P99',
      'DECLARED',
      'OPS/S',
      'WHY NOT',
    ],
    dry.explanations.map(({ volume, score, refusal, ...level }) => [
      volume,
      digits(score?.total),
      digits(score?.space),
      digits(score?.serviceLevel),
      digits(score?.locality),
      digits(score?.load),
      microseconds(level.measuredP99Us),
      microseconds(level.declaredP99Us),
      level.operations.toFixed(1),
      refusal === undefined ? '' : `${refusal.code}: ${refusal.reason}`,
    ]),
  )
  const chosen =
    dry.volume === undefined
      ? `none: ${oneLine(dry.refusal?.reason ?? '')}\n`
      : `chosen: ${dry.volume}, by policy ${dry.policy ?? ''}\n`
  return table + chosen
}

interface MountFlags extends Common, ConsumerFlags {
  readonly target?: string
  readonly at?: string
  readonly mode: 'ro' | 'rw'
  readonly subpath?: string
  readonly ttl?: number
  readonly quota?: number
  readonly compute?: true
  readonly class?: string
  readonly label?: readonly string[]
  readonly minFree?: number
  readonly dryRun?: true
}

function addMount(volume: Command): void {
  volume
    .command('mount')
    .description('mount a volume for a tenant; done when it is seen there')
    .argument('[volume]', 'its name; without one, --class and --label choose')
    .option('--at <path>', "where, relative to the tenant's mount")
    .option('--target <path>', 'instead: at this path of a running container; needs root')
    .option('--container <id>', 'of podman, docker, crun or runc: whose path --target is')
    .option('--pid <pid>', 'or the container of this process', processId)
    .addOption(modeOption())
    .option('--tenant <name>', 'whose')
    .option('--subpath <path>', 'a part of the volume')
    .option('--ttl <duration>', 'how long, as 30m', duration)
    .option('--quota <size>', 'what it may occupy, as 10G', size)
    .option('--compute', 'programs may run in it')
    .option('--class <name>', 'choose by class')
    .option('--label <key=value>', 'choose by label; may be repeated', collect)
    .option('--min-free <size>', 'choose by free space', size)
    .option('--dry-run', 'explain, and change nothing')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu volume mount datasets --at shared/datasets --ttl 1h'))
    .action(async (name: string | undefined, flags: MountFlags) =>
      asking(async () => {
        const { target } = flags
        if ((flags.at === undefined) === (target === undefined))
          throw new CliError(EXIT.usage, 'give one of --at and --target')
        const wanted = toRequest(name, flags)
        const request = { ...wanted, at: flags.at ?? 'inside' }
        if (flags.dryRun) return await explain(await tenantClient(flags.tenant), request, flags)
        const grant =
          target === undefined
            ? await (await tenantClient(flags.tenant)).mount(request)
            : await adminClient().json<Grant>('/containers/mount', {
                body: { ...wanted, ...(await insideOf({ ...flags, target })) },
              })
        const where = placeOf(grant)
        show(grant, flags.json, () => `${grant.id}: ${grant.volume} ${grant.mode} at ${where}\n`)
      }),
    )
}

/** What names a path of a running container to the daemon. */
async function insideOf(flags: ConsumerFlags & { tenant?: string; target: string }) {
  const tenant = flags.tenant ?? (await onlyTenant())
  return { tenant, target: flags.target, ...(await consumerOf(flags)) }
}

async function explain(client: InsituClient, request: MountRequest, { json }: Common) {
  const dry = await client.explain(request)
  show(dry, json, () => renderExplained(dry))
  if (dry.refusal !== undefined) throw new CliError(EXIT.refused, dry.refusal.reason)
}

function toRequest(name: string | undefined, flags: MountFlags): Omit<MountRequest, 'at'> {
  const labels = Object.fromEntries((flags.label ?? []).map(keyAndValue))
  const chooses = flags.label ?? flags.class ?? flags.minFree
  if (name !== undefined && chooses !== undefined)
    throw new CliError(EXIT.usage, 'give a name, or --class, --label and --min-free to choose by')
  const choice =
    name === undefined
      ? {
          select: {
            labels,
            ...(flags.class === undefined ? {} : { class: flags.class }),
            ...(flags.minFree === undefined ? {} : { minFreeBytes: flags.minFree }),
          },
        }
      : { volume: name }
  return {
    ...choice,
    mode: flags.mode,
    ...(flags.subpath === undefined ? {} : { subpath: flags.subpath }),
    ...(flags.ttl === undefined ? {} : { ttl: Math.max(1, Math.ceil(flags.ttl / 1_000)) }),
    ...(flags.quota === undefined ? {} : { quotaBytes: flags.quota }),
    ...(flags.compute ? { compute: true } : {}),
  }
}

function addUnmount(volume: Command): void {
  volume
    .command('unmount')
    .description('take a mounted volume away; says who holds it, and waits')
    .argument('[at]', "relative to the tenant's mount")
    .option('--target <path>', 'instead: what is at this path of a running container; needs root')
    .option('--container <id>', 'of podman, docker, crun or runc: whose path --target is')
    .option('--pid <pid>', 'or the container of this process', processId)
    .option('--tenant <name>', 'whose')
    .option('--force', 'open files get ESTALE')
    .option('--timeout <duration>', 'how long to wait (default: 10s)', duration, 10_000)
    .option('--json', 'as JSON')
    .action(async (name: string | undefined, flags: UnmountFlags) =>
      asking(async () => {
        const { target } = flags
        if ((name === undefined) === (target === undefined))
          throw new CliError(EXIT.usage, 'give the path, or --target')
        const gone =
          target === undefined
            ? await unmountAt(await tenantClient(flags.tenant), name ?? '', flags)
            : await unmountInside(await insideOf({ ...flags, target }), flags)
        const where = name ?? target ?? ''
        show(gone ?? null, flags.json, () =>
          gone === undefined
            ? `nothing is mounted at ${where}\n`
            : `${gone.volume} left ${where}\n`,
        )
      }),
    )
}

interface UnmountFlags extends Common, ConsumerFlags {
  readonly target?: string
  readonly force?: true
  readonly timeout: number
}

function unmountAt(client: InsituClient, at: string, flags: UnmountFlags) {
  return patiently(flags, (how) => client.unmount({ at, ...how }))
}

function unmountInside(inside: Awaited<ReturnType<typeof insideOf>>, flags: UnmountFlags) {
  return patiently(flags, async (how) => {
    const body = { ...inside, ...how }
    const done = await adminClient().json<{ unmounted?: Grant }>('/containers/unmount', { body })
    return done.unmounted
  })
}

/** Says who holds it before it waits. */
async function patiently(
  { force, timeout }: UnmountFlags,
  unmount: (how: { force?: true; waitMs?: number }) => Promise<Grant | undefined>,
): Promise<Grant | undefined> {
  try {
    return await unmount(force ? { force } : {})
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== 'busy' || force) throw error
    process.stderr.write(`insitu: ${oneLine(error.message)}; waiting\n`)
    return await unmount({ waitMs: Math.min(timeout, 300_000) })
  }
}

function addDrain(volume: Command): void {
  volume
    .command('drain')
    .description('give no more of a volume, and take away what is not in use')
    .argument('<volume>')
    .option('--force', 'take away all')
    .option('--end', 'give it again')
    .option('--timeout <duration>', 'how long to wait for the rest', duration, 0)
    .option('--json', 'as JSON')
    .action(async (name: string, flags: Common & { force?: true; end?: true; timeout: number }) =>
      asking(async () => {
        const body = flags.end ? { end: true } : { force: flags.force ?? false }
        const endMs = Date.now() + flags.timeout
        const drain = () =>
          adminClient().json<{ left: Grant[] }>(`/volumes/${encodeURIComponent(name)}/drain`, {
            body,
          })
        let { left } = await drain()
        while (left.length > 0 && Date.now() < endMs) {
          await sleep(500)
          ;({ left } = await drain())
        }
        const done = `${name} is ${flags.end ? 'given again' : 'drained'}\n`
        show(left, flags.json, () =>
          left.length === 0 ? done : left.map((each) => `in use: ${describe(each)}\n`).join(''),
        )
        if (left.length === 0) return
        const grants = left.length === 1 ? 'one grant is' : `${left.length} grants are`
        const how = 'wait with --timeout, or take them away with --force'
        throw new CliError(EXIT.failed, `${grants} in use; ${how}`)
      }),
    )
}

function describe({ id, tenant, at }: Grant): string {
  return `${id} of ${tenant} at ${at}`
}

function modeOption(): Option {
  return new Option('--mode <mode>', 'read-only or read-write').choices(['ro', 'rw']).default('ro')
}

function processId(text: string): number {
  const pid = Number(text)
  if (!Number.isSafeInteger(pid) || pid <= 0) throw new InvalidArgumentError('Give a process id.')
  return pid
}
