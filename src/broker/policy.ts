/**
 * May this tenant have this volume, so? Pure: the same question with the same rules has the same
 * answer. Rules only ever add to each other: a request is allowed if one rule allows all of it.
 */
import { isWithin } from './paths.ts'
import type { Decision, MountRequest, Policy, Refusal, Tenant, Volume } from './types.ts'

export interface Question {
  readonly tenant: Tenant
  readonly volume: Volume
  readonly request: Pick<MountRequest, 'mode' | 'subpath' | 'ttlMs' | 'quotaBytes' | 'compute'>
  readonly policies: readonly Policy[]
  /** How many grants the tenant has by each rule. */
  readonly used: ReadonlyMap<string, number>
  readonly nowMs: number
}

/** The same words for what is not there and for what may not be known. */
export function unknownVolume(name: string): Refusal {
  return { code: 'unknown-volume', reason: `there is no volume "${name}"` }
}

export function decide(question: Question): Decision {
  const { tenant, volume, policies } = question
  const rules = policies.filter((rule) => concerns(rule, tenant, volume))
  if (!rules.some(reveals)) return { allowed: false, ...unknownVolume(volume.name) }
  const refusals: { readonly step: number; readonly refusal: Refusal }[] = []
  const allowing: Policy[] = []
  for (const rule of rules) {
    const step = CHECKS.findIndex(({ holds }) => !holds(rule, question))
    const check = CHECKS[step]
    if (check === undefined) allowing.push(rule)
    else
      refusals.push({ step, refusal: { code: check.code, reason: check.reason(rule, question) } })
  }
  const best = allowing.toSorted((one, other) => preferred(one, other, question))[0]
  if (best !== undefined) return allowedBy(best, question)
  // The rule that came furthest says what is missing; the first of equals by name.
  const furthest = refusals.toSorted((one, other) => other.step - one.step)[0]
  const refusal = furthest?.refusal ?? unknownVolume(volume.name)
  return { allowed: false, ...refusal }
}

/** May the tenant know of it? Who may mount it in some way does. */
export function visible(tenant: Tenant, volume: Volume, policies: readonly Policy[]): boolean {
  return policies.some((rule) => reveals(rule) && concerns(rule, tenant, volume))
}

function reveals(rule: Policy): boolean {
  return rule.discoverable || rule.modes.length > 0
}

export function concerns(
  { tenants, volumes }: Pick<Policy, 'tenants' | 'volumes'>,
  tenant: Pick<Tenant, 'name'>,
  volume: Pick<Volume, 'name' | 'labels'>,
): boolean {
  if (!tenants.includes('*') && !tenants.includes(tenant.name)) return false
  const labels = Object.entries(volumes.labels)
  // A match that says nothing matches nothing: an empty rule must not open everything.
  if (volumes.names.length === 0 && labels.length === 0) return false
  const named =
    volumes.names.length === 0 || volumes.names.includes('*') || volumes.names.includes(volume.name)
  return named && hasLabels(volume, labels)
}

export function hasLabels(
  volume: Pick<Volume, 'labels'>,
  wanted: readonly (readonly [string, string])[],
): boolean {
  return wanted.every(
    ([key, value]) => Object.hasOwn(volume.labels, key) && volume.labels[key] === value,
  )
}

interface Check {
  readonly code: Refusal['code']
  readonly holds: (rule: Policy, question: Question) => boolean
  readonly reason: (rule: Policy, question: Question) => string
}

/** In the order in which a refusal is told. */
const CHECKS: readonly Check[] = [
  {
    code: 'no-policy',
    holds: (rule) => rule.modes.length > 0,
    reason: (_, { volume }) => `no policy lets this tenant mount "${volume.name}"`,
  },
  {
    code: 'mode-not-allowed',
    holds: (rule, { request }) => rule.modes.includes(request.mode),
    reason: (_, { volume, request }) => `"${volume.name}" may not be mounted ${request.mode}`,
  },
  {
    code: 'subpath-not-allowed',
    holds: (rule, { request }) => rule.subpaths.some((above) => isWithin(request.subpath, above)),
    reason: (_, { volume, request }) =>
      request.subpath === ''
        ? `not all of "${volume.name}" may be mounted; name a subpath`
        : `this subpath of "${volume.name}" may not be mounted`,
  },
  {
    code: 'compute-not-allowed',
    holds: (rule, { request }) => rule.compute || !request.compute,
    reason: (_, { volume }) => `programs may not run in "${volume.name}"`,
  },
  {
    code: 'ttl-too-long',
    holds: ({ maxTtlMs }, { request }) =>
      maxTtlMs === undefined || request.ttlMs === undefined || request.ttlMs <= maxTtlMs,
    reason: (rule) => `a grant lasts at most ${rule.maxTtlMs ?? 0} ms`,
  },
  {
    code: 'quota-too-large',
    holds: ({ maxQuotaBytes }, { request }) =>
      maxQuotaBytes === undefined ||
      request.quotaBytes === undefined ||
      request.quotaBytes <= maxQuotaBytes,
    reason: (rule) => `a quota is at most ${rule.maxQuotaBytes ?? 0} bytes`,
  },
  {
    code: 'too-many-grants',
    holds: (rule, { used }) => (used.get(rule.name) ?? 0) < rule.maxGrants,
    reason: (rule) => `there are ${rule.maxGrants} grants by this policy already`,
  },
]

/** What a rule leaves open is its own bound: who asks for no end gets the longest one. */
function allowedBy(rule: Policy, { request, nowMs }: Question): Decision {
  const ttlMs = request.ttlMs ?? rule.maxTtlMs
  return {
    allowed: true,
    policy: rule.name,
    revocable: rule.revocable,
    expiresAtMs: ttlMs === undefined ? undefined : nowMs + ttlMs,
    quotaBytes: request.mode === 'ro' ? undefined : (request.quotaBytes ?? rule.maxQuotaBytes),
  }
}

/** Of several rules the one that gives most: longest, largest, fastest; then by name. */
function preferred(one: Policy, other: Policy, { request }: Question): number {
  const ttl = (rule: Policy): number => request.ttlMs ?? rule.maxTtlMs ?? Infinity
  const quota = (rule: Policy): number => request.quotaBytes ?? rule.maxQuotaBytes ?? Infinity
  return (
    descending(ttl(one), ttl(other)) ||
    descending(quota(one), quota(other)) ||
    descending(Number(!one.revocable), Number(!other.revocable)) ||
    byName(one.name, other.name)
  )
}

function descending(one: number, other: number): number {
  return one === other ? 0 : one > other ? -1 : 1
}

/** By code units: the same everywhere, whatever the locale. */
export function byName(one: string, other: string): number {
  return one === other ? 0 : one < other ? -1 : 1
}
