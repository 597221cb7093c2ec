/** What is read of a mount: the volume, and the trees with programs that are grafted into it. */
import { VfsError } from '../errors.ts'
import type { Grafts } from './grafts.ts'
import type {
  DirectoryAttributes,
  DirectoryKey,
  DirectorySurvey,
  InputIdentity,
  InputSession,
  Principal,
  Volume,
} from './types.ts'

export class Forest implements Volume {
  readonly #volume: Volume
  readonly #grafts: Grafts

  constructor(volume: Volume, grafts: Grafts) {
    this.#volume = volume
    this.#grafts = grafts
  }

  get backing(): string {
    return this.#volume.backing
  }

  knows(key: DirectoryKey): boolean {
    try {
      this.#in(key)
      return true
    } catch {
      return false
    }
  }

  async keyOf(path: string, principal?: Principal): Promise<DirectoryKey> {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.')
    if (parts.includes('..')) return this.#volume.keyOf(path, principal)
    return (
      (await this.#grafts.keyAt(parts.join('/'), principal)) ?? this.#volume.keyOf(path, principal)
    )
  }

  async pathOf(key: DirectoryKey): Promise<string | undefined> {
    if (!this.knows(key)) return undefined
    const { volume, prefix, key: inner } = this.#in(key)
    return this.#shown(prefix, await orGone(volume.pathOf(inner)))
  }

  async stat(key: DirectoryKey): Promise<DirectoryAttributes> {
    const { volume, key: inner } = this.#in(key)
    return volume.stat(inner)
  }

  async access(
    key: DirectoryKey,
    principal: Principal,
    mode: 'r' | 'w' | 'x' | 'rx' | 'wx',
  ): Promise<boolean> {
    const { volume, key: inner } = this.#in(key)
    return volume.access(inner, principal, mode)
  }

  async survey(key: DirectoryKey, principal: Principal): Promise<DirectorySurvey> {
    const { volume, prefix, key: inner } = this.#in(key)
    const { path, ...survey } = await volume.survey(inner, principal)
    const shown = this.#shown(prefix, path)
    return { ...survey, ...(shown !== undefined && { path: shown }) }
  }

  async inputs(key: DirectoryKey, principal: Principal): Promise<InputSession> {
    const { volume, key: inner } = this.#in(key)
    return volume.inputs(inner, principal)
  }

  async restoreInputs(
    key: DirectoryKey,
    principal: Principal,
    identities: readonly InputIdentity[],
  ): Promise<InputSession> {
    const { volume, key: inner } = this.#in(key)
    return volume.restoreInputs(inner, principal, identities)
  }

  close(): void {
    this.#volume.close()
  }

  #in(key: DirectoryKey): { volume: Volume; prefix: string; key: DirectoryKey } {
    return this.#grafts.find(key) ?? { volume: this.#volume, prefix: '', key }
  }

  #shown(prefix: string, path: string | undefined): string | undefined {
    if (prefix === '' || path === undefined) return path
    const point = this.#grafts.pointOf(prefix)
    return path === '' ? point : `${point}/${path}`
  }
}

/** A tree that went meanwhile is gone like a directory. */
async function orGone(path: Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await path
  } catch (error) {
    if (error instanceof VfsError && error.code === 'ESTALE') return undefined
    throw error
  }
}
