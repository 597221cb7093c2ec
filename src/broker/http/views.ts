/** Between the broker's words and the API's: times as ISO 8601, durations in seconds. */
import path from 'node:path'
import type { GrantReport, VolumeReport } from '../reports.ts'
import { BrokerError } from '../broker-error.ts'
import { faultOfAt, faultOfSubpath } from '../paths.ts'
import type { Selection } from '../select.ts'
import type { AuditRecord } from '../store/audit.ts'
import type { Grant, Image, MountRequest, Policy, Tenant, Volume } from '../types.ts'
import type * as schemas from './schemas.ts'

export function toMountRequest(body: schemas.Body<typeof schemas.MountBody>): MountRequest {
  if ((body.volume === undefined) === (body.select === undefined))
    throw new BrokerError('bad-request', 'give one of "volume" and "select"')
  const at = faultOfAt(body.at)
  if (at !== undefined) throw new BrokerError('bad-path', `"at": ${at}`)
  const subpath = faultOfSubpath(body.subpath ?? '')
  if (subpath !== undefined) throw new BrokerError('bad-path', `"subpath": ${subpath}`)
  return {
    volume: body.volume,
    select: body.select && {
      class: body.select.class,
      labels: body.select.labels ?? {},
      minFreeBytes: body.select.minFreeBytes,
    },
    at: body.at,
    mode: body.mode ?? 'ro',
    subpath: body.subpath ?? '',
    ttlMs: body.ttl === undefined ? undefined : body.ttl * 1_000,
    quotaBytes: body.quotaBytes,
    compute: body.compute ?? false,
  }
}

export function grantView(grant: Grant | GrantReport) {
  const { createdAtMs, expiresAtMs, inside, ...rest } = grant
  return {
    ...rest,
    inside: inside && {
      pid: inside.consumer.pid,
      container: inside.consumer.container,
      target: inside.target,
    },
    createdAt: iso(createdAtMs),
    expiresAt: expiresAtMs === undefined ? undefined : iso(expiresAtMs),
    state: 'state' in grant ? grant.state : ('active' as const),
  }
}

export function dryRunView(selection: Selection) {
  const { explanations } = selection
  if (selection.chosen === undefined) return { refusal: selection.refusal, explanations }
  const { policy, revocable, quotaBytes, expiresAtMs } = selection.decision
  const expiresAt = expiresAtMs === undefined ? undefined : iso(expiresAtMs)
  return { volume: selection.chosen.name, policy, revocable, quotaBytes, expiresAt, explanations }
}

/** `explain`: may all of it be mounted so? */
export function tenantVolumeView(
  { volume, state }: VolumeReport,
  explain: (mode: 'ro' | 'rw') => Selection,
) {
  const verdict = (mode: 'ro' | 'rw') => {
    const selection = explain(mode)
    return selection.chosen === undefined ? selection.refusal : ('allowed' as const)
  }
  return {
    name: volume.name,
    class: volume.class,
    labels: volume.labels,
    modes: volume.modes,
    freeBytes: state.freeBytes,
    totalBytes: state.totalBytes,
    healthy: state.healthy,
    draining: volume.draining,
    ro: verdict('ro'),
    rw: verdict('rw'),
  }
}

export function adminVolumeView({ volume, state, configured }: VolumeReport) {
  const { snapshot, ...rest } = volume
  return {
    ...rest,
    ...state,
    ...(snapshot && { snapshot: { of: snapshot.of, takenAt: iso(snapshot.takenAtMs) } }),
    configured,
  }
}

type VolumeBody = schemas.Body<typeof schemas.VolumeBody>

/** `mountedAt`: where an image of that name is. */
export function toVolume(body: VolumeBody, mountedAt: (name: string) => string): Volume {
  const common = {
    name: body.name,
    class: {
      name: body.class?.name ?? 'default',
      latencyP99Us: body.class?.latencyP99Us,
      throughputMiBps: body.class?.throughputMiBps,
      durability: body.class?.durability,
      locality: body.class?.locality,
    },
    labels: body.labels ?? {},
    modes: body.modes ?? (['ro', 'rw'] as const),
    draining: false,
  }
  return body.kind === 'image'
    ? { ...common, kind: 'image', backing: mountedAt(body.name), image: toImage(body) }
    : { ...common, kind: 'directory', backing: toBacking(body) }
}

function toBacking({ backing, sizeBytes, filesystem, owner }: VolumeBody): string {
  if (sizeBytes !== undefined || filesystem !== undefined || owner !== undefined)
    throw new BrokerError('bad-request', 'only an image has a size, a filesystem and an owner')
  if (backing === undefined)
    throw new BrokerError('bad-request', 'a volume of the kind "directory" has a "backing"')
  if (!path.isAbsolute(backing) || path.normalize(backing) !== backing)
    throw new BrokerError('bad-path', '"backing" is an absolute path without "." and ".."')
  return backing
}

function toImage({ backing, sizeBytes, filesystem = 'ext4', owner }: VolumeBody): Image {
  if (backing !== undefined)
    throw new BrokerError('bad-request', 'an image lies where the daemon keeps them: no "backing"')
  if (sizeBytes === undefined)
    throw new BrokerError('bad-request', 'a volume of the kind "image" has "sizeBytes"')
  return { sizeBytes, filesystem, owner }
}

/** What is left out is the narrower: revocable, no programs, not told of. */
export function toPolicy(body: schemas.Body<typeof schemas.PolicyBody>): Policy {
  for (const subpath of body.subpaths ?? []) {
    const fault = faultOfSubpath(subpath)
    if (fault !== undefined) throw new BrokerError('bad-path', `"subpaths": ${fault}`)
  }
  return {
    name: body.name,
    tenants: body.tenants,
    volumes: { names: body.volumes.names ?? [], labels: body.volumes.labels ?? {} },
    modes: body.modes,
    subpaths: body.subpaths ?? [''],
    maxTtlMs: body.maxTtl === undefined ? undefined : body.maxTtl * 1_000,
    revocable: body.revocable ?? true,
    maxGrants: body.maxGrants ?? 1_000,
    maxQuotaBytes: body.maxQuotaBytes,
    compute: body.compute ?? false,
    discoverable: body.discoverable ?? false,
  }
}

export function policyView({ policy, configured }: { policy: Policy; configured: boolean }) {
  const { maxTtlMs, ...rest } = policy
  return { ...rest, maxTtl: maxTtlMs === undefined ? undefined : maxTtlMs / 1_000, configured }
}

export function toTenant(body: schemas.Body<typeof schemas.TenantBody>): Tenant {
  const { name, ids, labels = {}, locality } = body
  return { name, ids, labels, locality }
}

export function auditView({ atMs, ...record }: AuditRecord) {
  return { ...record, at: iso(atMs) }
}

export function iso(ms: number): string {
  return new Date(ms).toISOString()
}
