/** Volumes and inputs as they stand in `native/file-server/{volume,inputs}`. */
import { addon } from '../addon/index.ts'
import type { NativeInputs, NativeVolume } from '../addon/volume.ts'
import { DEFAULT_RUN_LIMITS } from '../config/limits.ts'
import { VfsError } from '../errors.ts'
import { toVfsError } from './native-error.ts'
import type {
  DirectoryAttributes,
  DirectoryKey,
  DirectorySurvey,
  InputAttributes,
  InputIdentity,
  InputSession,
  OpenedInput,
  Principal,
  Validation,
  Volume,
} from './types.ts'

export interface VolumeOptions {
  /** Bound on what one run may look at; a look over it is EMFILE. */
  readonly maxInputs?: number
}

/** ENOENT, ENOTDIR, EACCES as VfsError. `backing` is absolute. */
export async function openVolume(backing: string, options: VolumeOptions = {}): Promise<Volume> {
  const maxInputs = options.maxInputs ?? DEFAULT_RUN_LIMITS.inputs
  return new DirectoryVolume(backing, await vfs(addon.openVolume(backing, maxInputs)))
}

/** Of a volume that the file server opened. */
export function volumeOver(native: NativeVolume, backing: string): Volume {
  return new DirectoryVolume(backing, native)
}

const ACCESS_BITS = { r: 4, w: 2, x: 1, rx: 5, wx: 3 } as const

class DirectoryVolume implements Volume {
  readonly backing: string
  #native: NativeVolume | undefined

  constructor(backing: string, native: NativeVolume) {
    this.backing = backing
    this.#native = native
  }

  /** Keys of other trees begin with their name. */
  knows(key: DirectoryKey): boolean {
    return !key.startsWith('g:')
  }

  keyOf(path: string, principal?: Principal): Promise<DirectoryKey> {
    return vfs(this.native().keyOf(path, principal))
  }

  pathOf(key: DirectoryKey): Promise<string | undefined> {
    return vfs(this.native().pathOf(key))
  }

  stat(key: DirectoryKey): Promise<DirectoryAttributes> {
    return vfs(this.native().stat(key))
  }

  access(
    key: DirectoryKey,
    principal: Principal,
    mode: 'r' | 'w' | 'x' | 'rx' | 'wx',
  ): Promise<boolean> {
    return vfs(this.native().access(key, principal, ACCESS_BITS[mode]))
  }

  survey(key: DirectoryKey, principal: Principal): Promise<DirectorySurvey> {
    return vfs(this.native().survey(key, principal))
  }

  async inputs(key: DirectoryKey, principal: Principal): Promise<InputSession> {
    return new Inputs(await vfs(this.native().inputs(key, principal, undefined)))
  }

  async restoreInputs(
    key: DirectoryKey,
    principal: Principal,
    identities: readonly InputIdentity[],
  ): Promise<InputSession> {
    return new Inputs(await vfs(this.native().inputs(key, principal, identities)))
  }

  /** What is under way ends as it would; descriptors go with the last of it. */
  close(): void {
    this.#native?.close()
    this.#native = undefined
  }

  /** For the file server, which serves the same volume. */
  native(): NativeVolume {
    if (this.#native === undefined) throw new VfsError('EBADF', 'the volume is closed')
    return this.#native
  }
}

class Inputs implements InputSession {
  #native: NativeInputs | undefined
  /** Until something else is looked at: a hundred thousand take most of a second to convert, and
   * several ask for them; but nobody should have to hold them for long. */
  #known: WeakRef<readonly InputIdentity[]> | undefined

  constructor(native: NativeInputs) {
    this.#native = native
  }

  open(path: string): Promise<OpenedInput> {
    return this.#look(this.native().open(path))
  }

  stat(path: string): Promise<InputAttributes> {
    return this.#look(this.native().stat(path))
  }

  list(path: string): ReturnType<InputSession['list']> {
    return this.#look(this.native().list(path))
  }

  validate(when: 'look' | 'end'): Promise<Validation> {
    return vfs(this.native().validate(when))
  }

  conclude(gid: number): Promise<{ holds: boolean; readableMode: number }> {
    return vfs(this.native().conclude(gid))
  }

  identities(): readonly InputIdentity[] {
    const native = this.native()
    const known = this.#known?.deref()
    if (known !== undefined) return known
    const identities = native.identities()
    this.#known = new WeakRef(identities)
    return identities
  }

  async #look<T>(look: Promise<T>): Promise<T> {
    try {
      return await vfs(look)
    } finally {
      this.#known = undefined
    }
  }

  readableMode(gid: number): Promise<number> {
    return vfs(this.native().readableMode(gid))
  }

  close(): void {
    this.#native = undefined
  }

  native(): NativeInputs {
    if (this.#native === undefined) throw new VfsError('EBADF', 'the input session is closed')
    return this.#native
  }
}

/** What a volume or session of this module holds natively; undefined for another implementation's. */
export function nativeVolume(volume: Volume): NativeVolume | undefined {
  return volume instanceof DirectoryVolume ? volume.native() : undefined
}

export function nativeInputs(session: InputSession): NativeInputs | undefined {
  return session instanceof Inputs ? session.native() : undefined
}

async function vfs<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise
  } catch (error) {
    throw toVfsError(error)
  }
}
