/** Grants and volumes as they are told to those who ask. */
import type { Entry } from './grant-table.ts'
import type { Grant, Volume, VolumeState } from './types.ts'

export interface GrantReport extends Grant {
  /** `unavailable`: promised, and mounted again as soon as its backing is there. `drifted`: served, but
   * not seen where it was put inside a container. */
  readonly state: 'preparing' | 'active' | 'revoking' | 'unavailable' | 'drifted'
  readonly reason: string | undefined
}

export interface VolumeReport {
  readonly volume: Volume
  readonly state: VolumeState
  readonly configured: boolean
}

export function toReport({ grant, state, unavailable, drift }: Entry): GrantReport {
  const reason = unavailable ?? drift
  if (state !== 'active' || reason === undefined) return { ...grant, state, reason }
  return { ...grant, state: unavailable === undefined ? 'drifted' : 'unavailable', reason }
}
