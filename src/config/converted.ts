/** From what the file says, once it fits the schema, to what the daemon uses. */
import type { Policy, Volume } from '../broker/types.ts'
import type { RunLimits } from '../sandbox/types.ts'
import { DEFAULT_COMPUTE_LIMITS, DEFAULT_RUN_LIMITS, type ComputeLimits } from './limits.ts'
import type { File, FileLimits } from './schema.ts'
import type { DeclaredTenant, ServeConfiguration } from './served.ts'
import { imageBacking } from './paths.ts'
import { parseDuration, parseSize } from './units.ts'

const MiB = 1024 * 1024
const DEFAULT_STATE = '/var/lib/insitu'
const DEFAULT_RUNTIME = '/run/insitu'
const DEFAULT_PLUGIN_SOCKET = '/run/docker/plugins/insitu.sock'
const DEFAULT_WORKERS = 4
const DEFAULT_THREADS = 4
const DEFAULT_MAX_GRANTS = 64

export function convert(file: File): ServeConfiguration {
  const limits = runLimits(file.limits, DEFAULT_RUN_LIMITS)
  const bounds = computeLimits(file.limits, DEFAULT_COMPUTE_LIMITS)
  return {
    state: file.state ?? DEFAULT_STATE,
    runtime: file.runtime ?? DEFAULT_RUNTIME,
    workers: file.workers ?? DEFAULT_WORKERS,
    threads: file.threads ?? DEFAULT_THREADS,
    limits,
    bounds,
    plugin: file.plugin && {
      socket: file.plugin.socket ?? DEFAULT_PLUGIN_SOCKET,
      tenant: file.plugin.tenant,
    },
    https: file.https && {
      listen: addressOf(file.https.listen),
      names: file.https.names ?? [],
    },
    tenants: Object.entries(file.tenants ?? {}).map(([name, tenant]): DeclaredTenant => ({
      name,
      ids: rangeOf(tenant.ids),
      home: tenant.home,
      mountPoint: tenant.mountPoint,
      labels: tenant.labels ?? {},
      locality: tenant.locality,
      share: tenant.share ?? 1,
      limits: runLimits(tenant.limits, limits),
      bounds: computeLimits(tenant.limits, bounds),
    })),
    volumes: Object.entries(file.volumes ?? {}).map(([name, volume]) => ({
      ...common(name, volume),
      ...(volume.kind === 'image'
        ? imageOf(name, volume, file.runtime ?? DEFAULT_RUNTIME)
        : { kind: 'directory', backing: volume.path ?? '' }), // checks.ts tells of none
    })),
    policies: Object.entries(file.policies ?? {}).map(([name, policy]) => policyOf(name, policy)),
  }
}

type FileVolume = NonNullable<File['volumes']>[string]

function imageOf(
  name: string,
  { size: bytes, filesystem = 'ext4', owner }: FileVolume,
  runtime: string,
): Pick<Volume, 'kind' | 'backing' | 'image'> {
  const [uid = 0, gid = uid] = owner === undefined ? [] : String(owner).split(':').map(Number)
  return {
    kind: 'image',
    backing: imageBacking(runtime, name),
    image: {
      sizeBytes: size(bytes ?? 0),
      filesystem,
      owner: owner === undefined ? undefined : { uid, gid },
    },
  }
}

function common(name: string, volume: FileVolume): Omit<Volume, 'kind' | 'backing' | 'image'> {
  const { class: level } = volume
  const latencyMs = level?.latencyP99 === undefined ? undefined : duration(level.latencyP99)
  const throughput = level?.throughput === undefined ? undefined : size(level.throughput)
  return {
    name,
    class: {
      name: level?.name ?? 'standard',
      latencyP99Us: latencyMs === undefined ? undefined : latencyMs * 1000,
      throughputMiBps: throughput === undefined ? undefined : throughput / MiB,
      durability: level?.durability,
      locality: level?.locality,
    },
    labels: volume.labels ?? {},
    modes: volume.modes ?? ['ro', 'rw'],
    draining: false,
  }
}

function policyOf(name: string, policy: NonNullable<File['policies']>[string]): Policy {
  return {
    name,
    tenants: policy.tenants,
    volumes: { names: policy.volumes.names ?? [], labels: policy.volumes.labels ?? {} },
    modes: policy.modes,
    subpaths: policy.subpaths ?? [''],
    maxTtlMs: policy.maxTtl === undefined ? undefined : duration(policy.maxTtl),
    revocable: policy.revocable ?? true,
    maxGrants: policy.maxGrants ?? DEFAULT_MAX_GRANTS,
    maxQuotaBytes: policy.maxQuota === undefined ? undefined : size(policy.maxQuota),
    compute: policy.compute ?? false,
    discoverable: policy.discoverable ?? false,
  }
}

export function rangeOf(text: string | number): { first: number; count: number } {
  const [first = NaN, last = first] = String(text).split('-').map(Number)
  return { first, count: last - first + 1 }
}

/** `127.0.0.1:8443`, `[::1]:8443`. */
export function addressOf(text: string): [host: string, port: number] {
  const at = text.lastIndexOf(':')
  return [text.slice(0, at).replace(/^\[|\]$/g, ''), Number(text.slice(at + 1))]
}

function runLimits(given: FileLimits | undefined, standard: RunLimits): RunLimits {
  const wallMs = given?.wall === undefined ? standard.wallMs : duration(given.wall)
  return {
    wallMs,
    cpuMs:
      given?.cpu !== undefined
        ? duration(given.cpu)
        : given?.wall === undefined
          ? standard.cpuMs
          : wallMs,
    memoryBytes: given?.memory === undefined ? standard.memoryBytes : size(given.memory),
    outputBytes: given?.output === undefined ? standard.outputBytes : size(given.output),
    resultFiles: given?.resultFiles ?? standard.resultFiles,
    logBytes: given?.log === undefined ? standard.logBytes : size(given.log),
    programBytes: given?.program === undefined ? standard.programBytes : size(given.program),
    inputs: given?.inputs ?? standard.inputs,
  }
}

function computeLimits(given: FileLimits | undefined, standard: ComputeLimits): ComputeLimits {
  return {
    programs: given?.programs ?? standard.programs,
    concurrentRuns: given?.concurrentRuns ?? standard.concurrentRuns,
    queuedRuns: given?.queuedRuns ?? standard.queuedRuns,
    storedBytes: given?.stored === undefined ? standard.storedBytes : size(given.stored),
    sourcesBytes: given?.sources === undefined ? standard.sourcesBytes : size(given.sources),
    logsBytes: given?.logs === undefined ? standard.logsBytes : size(given.logs),
    heldInputBytes: standard.heldInputBytes,
  }
}

/** What passed the schema but is no size still, as 0, is told by `units` of checks.ts. */
function size(text: string | number): number {
  return parseSize(String(text)) ?? 0
}

function duration(text: string | number): number {
  return parseDuration(String(text)) ?? 0
}
