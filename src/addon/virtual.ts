import type {
  DirectoryKey,
  ProgramEntry,
  PublishedSet,
  ReservedNames,
  VirtualReply,
  VirtualRequest,
} from '../file-server/types.ts'
import type { NativeInputs, NativeVolume } from './volume.ts'

/** What comes up, beside requests that await a reply. */
export type NativeRequest =
  | VirtualRequest
  | { readonly op: 'reserved-name-taken'; readonly path: string }
  | { readonly op: 'compute-not-granted'; readonly path: string }

export interface NativePublishedSet extends Omit<PublishedSet, 'inputs'> {
  /** Undefined: never validated natively, so each look is resolved. */
  readonly inputs: NativeInputs | undefined
}

export interface VirtualFilesAddon {
  readonly NativeVirtualFiles: new (
    volume: NativeVolume,
    names: ReservedNames,
    /** Must not throw. Undefined: whoever waited for `id` is gone. */
    dispatch: (id: number, request: NativeRequest | undefined) => void,
  ) => NativeVirtualFiles
}

/** Given to one NativeFileServer. */
export interface NativeVirtualFiles {
  setProgram(directory: DirectoryKey, entry: ProgramEntry | undefined): void
  publish(
    directory: DirectoryKey,
    current: NativePublishedSet | undefined,
    last: NativePublishedSet | undefined,
  ): void
  /** `errno` 0: done. False: nobody got the reply. */
  reply(id: number, errno: number, reply: VirtualReply | undefined): boolean
  wake(handle: number): void
  invalidate(path: string): Promise<void>
  statistics(): {
    readonly requests: number
    readonly waiting: number
    readonly nodes: number
    readonly openHandles: number
  }
}
