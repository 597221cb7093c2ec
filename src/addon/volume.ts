import type {
  DirectoryAttributes,
  DirectorySurvey,
  EntryKind,
  InputAttributes,
  InputIdentity,
  OpenedInput,
  Principal,
  Validation,
} from '../file-server/types.ts'

/** Rejections carry `errno`, a positive number. */
export interface VolumeAddon {
  openVolume(backing: string, maxInputs: number): Promise<NativeVolume>
}

export interface NativeVolume {
  keyOf(path: string, principal?: Principal): Promise<string>
  pathOf(key: string): Promise<string | undefined>
  stat(key: string): Promise<DirectoryAttributes>
  /** `mode` is bits of access(2): 4 read, 2 write, 1 search. */
  access(key: string, principal: Principal, mode: number): Promise<boolean>
  survey(key: string, principal: Principal): Promise<DirectorySurvey>
  inputs(
    key: string,
    principal: Principal,
    restored: readonly InputIdentity[] | undefined,
  ): Promise<NativeInputs>
  /** Its descriptors go with the last work under way; nothing else may be asked afterwards. */
  close(): void
}

export interface NativeInputs {
  open(path: string): Promise<OpenedInput>
  stat(path: string): Promise<InputAttributes>
  list(path: string): Promise<{ name: string; kind: EntryKind }[]>
  validate(when: 'look' | 'end'): Promise<Validation>
  conclude(gid: number): Promise<{ holds: boolean; readableMode: number }>
  identities(): InputIdentity[]
  readableMode(gid: number): Promise<number>
}
