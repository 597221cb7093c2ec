/**
 * The words of the broker, as plain data. A *volume* is a backing tree that can be granted, a *policy*
 * says who may have which and how, a *grant* is a volume or a part of it that a tenant has at a path
 * of its mount.
 */

import type { Consumer } from '../containers/consumer.ts'

export type AccessMode = 'ro' | 'rw'

export type VolumeKind = 'directory' | 'image' | 'snapshot'

/** Declared by the operator; `measured` stands beside it once there is traffic. */
export interface ServiceLevel {
  /** Name of the class, as `fast` or `archive`. */
  readonly name: string
  readonly latencyP99Us: number | undefined
  readonly throughputMiBps: number | undefined
  readonly durability: 'none' | 'single' | 'replicated' | undefined
  /** Where the bytes are, compared with the tenant's own. */
  readonly locality: string | undefined
}

export type ImageFilesystem = 'ext4' | 'xfs'

/** A filesystem in a file that the broker made: its size is its capacity. */
export interface Image {
  readonly sizeBytes: number
  readonly filesystem: ImageFilesystem
  /** Of the tree in it when it is made; undefined: root. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined
}

/** A point in time of another volume. */
export interface Snapshot {
  /** Its name then. */
  readonly of: string
  readonly takenAtMs: number
}

export interface Volume {
  /** Unique; letters, digits, `.`, `_`, `-`; at most 63, and begins with a letter or digit. */
  readonly name: string
  readonly kind: VolumeKind
  /** Absolute path of the tree that is granted. */
  readonly backing: string
  /** Of kind `image`, and of a snapshot of one. */
  readonly image?: Image | undefined
  /** Of kind `snapshot`. */
  readonly snapshot?: Snapshot | undefined
  readonly class: ServiceLevel
  readonly labels: Readonly<Record<string, string>>
  /** What the backing itself allows. */
  readonly modes: readonly AccessMode[]
  /** No new grants; those that are there end as the drain says. */
  readonly draining: boolean
}

/** What is known of a volume at the moment of a choice. */
export interface VolumeState {
  readonly freeBytes: number
  readonly totalBytes: number
  /** Placed already, but perhaps not yet written: sum of quotas less what they use. */
  readonly reservedBytes: number
  readonly grants: number
  /** p99 of recent operations in microseconds; undefined without traffic. */
  readonly measuredP99Us: number | undefined
  /** Recent operations a second. */
  readonly load: number
  readonly healthy: boolean
  /** Its filesystem takes no writes now, whatever its modes say. */
  readonly readOnly: boolean
  /** Why it is not well; for operators. */
  readonly fault: string | undefined
}

/** One rule. It allows what all of its parts allow; rules only ever add to each other. */
export interface Policy {
  readonly name: string
  /** Names of tenants; `*` is all. */
  readonly tenants: readonly string[]
  readonly volumes: VolumeMatch
  readonly modes: readonly AccessMode[]
  /** Prefixes below the volume's root ('' is all of it). */
  readonly subpaths: readonly string[]
  readonly maxTtlMs: number | undefined
  /** False: full speed, at the price that it cannot be taken back while something is open. */
  readonly revocable: boolean
  /** How many grants by this rule a tenant may have at a time. */
  readonly maxGrants: number
  readonly maxQuotaBytes: number | undefined
  /** May programs run in it? A right of its own. */
  readonly compute: boolean
  /** May a tenant know that a volume exists that it may not mount? */
  readonly discoverable: boolean
}

export interface VolumeMatch {
  readonly names: readonly string[]
  /** All of them must hold. */
  readonly labels: Readonly<Record<string, string>>
}

export interface Tenant {
  /** As a volume's name. */
  readonly name: string
  /** Host uids and gids that are the tenant's: `first` … `first + count − 1`. */
  readonly ids: { readonly first: number; readonly count: number }
  readonly labels: Readonly<Record<string, string>>
  readonly locality: string | undefined
}

export interface VolumeSelector {
  readonly class: string | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly minFreeBytes: number | undefined
}

/** A path of a running container, by the process that it ends with. */
export interface ContainerPlace {
  readonly consumer: Consumer
  /** Absolute, as a process in there sees it. */
  readonly target: string
}

/** What a tenant asks for; exactly one of `volume` and `select`. */
export interface MountRequest {
  readonly volume: string | undefined
  readonly select: VolumeSelector | undefined
  /** Relative to the tenant's mount; no `..`, no empty parts, not ''. Inside a container: as `atInside`. */
  readonly at: string
  /** There, and not in the tenant's mount. */
  readonly inside?: ContainerPlace | undefined
  readonly mode: AccessMode
  /** Below the volume's root, '' is all of it. */
  readonly subpath: string
  readonly ttlMs: number | undefined
  readonly quotaBytes: number | undefined
  readonly compute: boolean
}

export interface Grant {
  /** Never reused. */
  readonly id: string
  readonly tenant: string
  readonly volume: string
  readonly policy: string
  readonly at: string
  readonly inside?: ContainerPlace | undefined
  readonly mode: AccessMode
  readonly subpath: string
  readonly compute: boolean
  readonly revocable: boolean
  readonly quotaBytes: number | undefined
  readonly createdAtMs: number
  readonly expiresAtMs: number | undefined
}

/** Why not; the codes are part of the API. */
export type RefusalCode =
  | 'unknown-volume'
  | 'no-policy'
  | 'mode-not-allowed'
  | 'subpath-not-allowed'
  | 'ttl-too-long'
  | 'too-many-grants'
  | 'quota-too-large'
  | 'compute-not-allowed'
  | 'class-mismatch'
  | 'label-mismatch'
  | 'not-enough-space'
  | 'draining'
  | 'unhealthy'

export interface Refusal {
  readonly code: RefusalCode
  /** A sentence that the tenant may read. */
  readonly reason: string
}

export type Decision =
  | {
      readonly allowed: true
      readonly policy: string
      readonly revocable: boolean
      readonly expiresAtMs: number | undefined
      /** What was asked for, or else the rule's bound; none for `ro`. */
      readonly quotaBytes: number | undefined
    }
  | ({ readonly allowed: false } & Refusal)
