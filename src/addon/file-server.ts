import type {
  GraftLatencies,
  GraftOptions,
  GraftStatistics,
  GraftUsage,
} from '../file-server/types.ts'
import type { NativeVirtualFiles } from './virtual.ts'
import type { NativeVolume } from './volume.ts'

/** What `native/file-server` exports. */
export interface FileServerAddon {
  readonly NativeFileServer: new (
    options: NativeMountOptions,
    onEnded: (reason: string) => void,
    /** Undefined: reserved names are ordinary. */
    virtualFiles: NativeVirtualFiles | undefined,
  ) => NativeFileServer
  /** Detaches at once, open files or not; 0 or an errno. */
  unmountDetached(mountPoint: string): number
  /** Descriptor of another mount of what is mounted there from 0:`deviceMinor`, attached nowhere; or -errno. */
  cloneMounted(mountPoint: string, deviceMinor: number): number
  /** Puts such a one at a place; 0 or an errno. */
  attachClone(clone: number, place: string): number
}

export interface NativeMountOptions {
  /** Absolute, as `mountPoint`. */
  readonly backing: string
  /** Undefined: attached nowhere. */
  readonly mountPoint: string | undefined
  readonly exclusive: boolean
  readonly allowOther: boolean
  readonly listReserved: boolean
  /** Locks reach the backing filesystem. */
  readonly sharedBacking: boolean
  /** Use kernel passthrough where it can be had. */
  readonly passthrough: boolean
  /** As of `MountOptions`. */
  readonly ids?: { readonly users: string; readonly groups: string } | undefined
  readonly hideDevices?: boolean | undefined
  /** undefined: by the number of processors. */
  readonly threads?: number | undefined
}

export interface NativeFileServer {
  /** Mounts; before, nothing else may be called. Rejections carry `errno`. */
  start(): Promise<void>
  negotiated(): {
    readonly minor: number
    readonly flags: bigint
    readonly passthrough: boolean
    readonly passthroughReason: string
    readonly maxWriteBytes: number
    readonly threads: number
    /** Of a mount that is attached nowhere: a descriptor of its root, and "major:minor". */
    readonly detachedRoot?: number
    readonly device?: string
  }
  noticeMs(): number
  statistics(): {
    readonly operations: Record<string, number>
    readonly waiting: number
    readonly nodes: number
    readonly openHandles: number
    readonly backingIds: number
    readonly grafts: readonly GraftStatistics[]
  }
  /** `tree`: 0 for the volume, else a graft; `path` below its root, of the directory that gets the
   * entry `name`. Rejections carry `errno`. */
  graft(
    tree: number,
    path: string,
    name: string,
    backing: string,
    options: GraftOptions & { readonly identity: string },
  ): Promise<number>
  /** Of a graft that has programs; keys of its directories are `prefix` and the volume's key. */
  graftPrograms(graft: number): { prefix: string; volume: NativeVolume } | undefined
  /** Of that one and of those that stand in it, outer ones first; empty when there is none. */
  graftsWithin(graft: number): readonly GraftStatistics[]
  /** `at` is relative to the mount, `subpath` below `backing`. */
  graftAt(
    at: string,
    backing: string,
    subpath: string,
    options: GraftOptions & { readonly identity: string },
  ): Promise<number>
  shown(graft: number): Promise<void>
  revoke(graft: number): Promise<void>
  usage(): readonly GraftUsage[]
  latencies(): readonly GraftLatencies[]
  holdWrites(graft: number, longestMs: number): Promise<boolean>
  letWrite(graft: number): void
  /** Detaches; resolves when no thread is left. */
  stop(): Promise<void>
}
