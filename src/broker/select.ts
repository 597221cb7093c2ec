/**
 * Which volume, of those that would do? Pure. Every volume that the tenant may know of is filtered with
 * a reason or gets a score, and all of it is told, so that a choice can be explained.
 */
import { byName, decide, hasLabels, unknownVolume, visible } from './policy.ts'
import type {
  Decision,
  MountRequest,
  Policy,
  Refusal,
  Tenant,
  Volume,
  VolumeState,
} from './types.ts'

export interface Candidate {
  readonly volume: Volume
  readonly state: VolumeState
}

export interface Choice {
  readonly tenant: Tenant
  readonly request: Omit<MountRequest, 'at'>
  readonly candidates: readonly Candidate[]
  readonly policies: readonly Policy[]
  readonly used: ReadonlyMap<string, number>
  readonly nowMs: number
}

/** Each from 0 to 1. */
export interface Score {
  readonly space: number
  readonly serviceLevel: number
  readonly locality: number
  readonly load: number
  readonly total: number
}

export interface Explanation {
  readonly volume: string
  /** Why not; exactly one of both is there. */
  readonly refusal: Refusal | undefined
  readonly score: Score | undefined
  /** Of the class, beside what is measured. */
  readonly declaredP99Us: number | undefined
  readonly measuredP99Us: number | undefined
  /** Operations a second. */
  readonly operations: number
}

export type Allowed = Extract<Decision, { allowed: true }>

export type Selection =
  | {
      readonly chosen: Volume
      readonly decision: Allowed
      readonly explanations: readonly Explanation[]
    }
  | {
      readonly chosen: undefined
      readonly refusal: Refusal
      readonly explanations: readonly Explanation[]
    }

/** They sum to 1. Space first: a placement that fills a volume hurts all who are on it. */
const WEIGHTS = { space: 0.4, serviceLevel: 0.3, locality: 0.2, load: 0.1 } as const

/** Operations a second at which load counts for half. */
const HALF_LOAD = 1_000

export function select(choice: Choice): Selection {
  const { request, tenant, policies } = choice
  const known = choice.candidates
    .filter(({ volume }) => visible(tenant, volume, policies))
    .filter(({ volume }) => request.volume === undefined || volume.name === request.volume)
    .toSorted((one, other) => byName(one.volume.name, other.volume.name))
  const judged = known.map((candidate) => judge(candidate, choice))
  const explanations = judged.map(({ volume, refusal, score }, index) => ({
    volume: volume.name,
    refusal,
    score,
    declaredP99Us: volume.class.latencyP99Us,
    measuredP99Us: known[index]?.state.measuredP99Us,
    operations: known[index]?.state.load ?? 0,
  }))
  let best: Judgement | undefined
  for (const each of judged) {
    // Only a better one takes the place: equals go by name.
    if (each.score !== undefined && each.score.total > (best?.score?.total ?? -1)) best = each
  }
  if (best?.decision !== undefined)
    return { chosen: best.volume, decision: best.decision, explanations }
  return { chosen: undefined, refusal: summary(choice, judged), explanations }
}

interface Judgement {
  readonly volume: Volume
  readonly refusal: Refusal | undefined
  readonly score: Score | undefined
  readonly decision: Allowed | undefined
}

function judge(candidate: Candidate, choice: Choice): Judgement {
  const { volume, state } = candidate
  const { tenant, request, policies, used, nowMs } = choice
  const decision = decide({ tenant, volume, request, policies, used, nowMs })
  const refusal =
    mismatch(candidate, request) ??
    (decision.allowed ? undefined : { code: decision.code, reason: decision.reason }) ??
    shortage(candidate, request, decision)
  if (refusal !== undefined || !decision.allowed)
    return { volume, refusal, score: undefined, decision: undefined }
  return { volume, refusal, score: score(volume, state, tenant, decision), decision }
}

/** What no policy could change. */
function mismatch({ volume }: Candidate, request: Choice['request']): Refusal | undefined {
  const { select: wanted, mode } = request
  if (wanted?.class !== undefined && volume.class.name !== wanted.class)
    return refuse('class-mismatch', `"${volume.name}" is of the class "${volume.class.name}"`)
  if (wanted !== undefined && !hasLabels(volume, Object.entries(wanted.labels)))
    return refuse('label-mismatch', `"${volume.name}" does not have all of these labels`)
  if (!volume.modes.includes(mode))
    return refuse('mode-not-allowed', `"${volume.name}" cannot be mounted ${mode}`)
  return undefined
}

function shortage(
  { volume, state }: Candidate,
  request: Choice['request'],
  decision: Decision,
): Refusal | undefined {
  if (volume.draining) return refuse('draining', `"${volume.name}" is being drained`)
  if (!state.healthy) return refuse('unhealthy', `"${volume.name}" does not answer`)
  if (state.readOnly && request.mode === 'rw')
    return refuse('unhealthy', `"${volume.name}" is read-only now`)
  const asked = request.mode === 'rw' ? (request.quotaBytes ?? 0) : 0
  const needed = Math.max(request.select?.minFreeBytes ?? 0, asked)
  if (!decision.allowed || available(state) >= needed) return undefined
  return refuse('not-enough-space', `"${volume.name}" does not have ${needed} bytes free`)
}

function available({ freeBytes, reservedBytes }: VolumeState): number {
  return Math.max(0, freeBytes - reservedBytes)
}

function score(volume: Volume, state: VolumeState, tenant: Tenant, decision: Allowed): Score {
  const left = Math.max(0, available(state) - (decision.quotaBytes ?? 0))
  const parts = {
    space: state.totalBytes > 0 ? Math.min(1, left / state.totalBytes) : 0,
    serviceLevel: margin(volume.class.latencyP99Us, state.measuredP99Us),
    locality: nearness(tenant.locality, volume.class.locality),
    load: HALF_LOAD / (HALF_LOAD + Math.max(0, state.load)),
  }
  const total =
    WEIGHTS.space * parts.space +
    WEIGHTS.serviceLevel * parts.serviceLevel +
    WEIGHTS.locality * parts.locality +
    WEIGHTS.load * parts.load
  return { ...parts, total }
}

/** How far the measured latency is below the declared one: ½ at the edge or unknown, 0 at twice. */
function margin(declaredUs: number | undefined, measuredUs: number | undefined): number {
  if (declaredUs === undefined || declaredUs <= 0 || measuredUs === undefined) return 0.5
  const ratio = (declaredUs - measuredUs) / declaredUs
  return (Math.max(-1, Math.min(1, ratio)) + 1) / 2
}

function nearness(one: string | undefined, other: string | undefined): number {
  if (one === undefined || other === undefined) return 0.5
  return one === other ? 1 : 0
}

/** One volume was named: its own reason. Several were described: what most of them lack. */
function summary({ request }: Choice, judged: readonly Judgement[]): Refusal {
  if (request.volume !== undefined) return judged[0]?.refusal ?? unknownVolume(request.volume)
  const counts = new Map<string, { refusal: Refusal; count: number }>()
  for (const { refusal } of judged) {
    if (refusal === undefined) continue
    const entry = counts.get(refusal.code) ?? { refusal, count: 0 }
    counts.set(refusal.code, { ...entry, count: entry.count + 1 })
  }
  const most = [...counts.values()].toSorted((one, other) => other.count - one.count)[0]
  if (most === undefined) return refuse('unknown-volume', 'no volume is as described')
  return refuse(most.refusal.code, `no volume is as described; ${most.refusal.reason}`)
}

function refuse(code: Refusal['code'], reason: string): Refusal {
  return { code, reason }
}
