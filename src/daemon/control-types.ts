/** The messages between the command line and a running mount. */
import type { Negotiated, Principal, Statistics } from '../file-server/types.ts'
import type { Sandbox } from '../sandbox/types.ts'
import type { MountRecord } from './registry.ts'

export interface MountReport extends MountRecord {
  readonly negotiated: Negotiated
  readonly statistics: Statistics
  readonly sandbox: ReturnType<Sandbox['statistics']>
  readonly programs: number
  /** Resident set of the daemon, without its workers. */
  readonly memory: number
}

export interface ProgramImport {
  /** Relative to the volume, '' is its root. */
  readonly path: string
  /** Base64: a program may be any bytes. */
  readonly source: string
  readonly principal: Principal
}

export function isPrincipal(value: unknown): value is Principal {
  if (typeof value !== 'object' || value === null) return false
  const { uid, gid, groups } = value as Record<string, unknown>
  return isId(uid) && isId(gid) && Array.isArray(groups) && groups.every(isId)
}

function isId(value: unknown): value is number {
  // 2³²−1 means "no id" to the kernel.
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < 0xffff_ffff
}
