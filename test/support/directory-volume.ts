/**
 * A Volume over a plain directory, in plain JavaScript: what compute needs to be tested without an
 * addon or a mount. It knows permissions by mode bits alone and takes every growth for an append.
 */
import { readdirSync, statSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { VfsError } from '../../src/errors.ts'
import type {
  DirectoryKey,
  EntryKind,
  InputAttributes,
  InputIdentity,
  InputSession,
  OpenedInput,
  Principal,
  Validation,
  Volume,
} from '../../src/file-server/types.ts'

interface Stats {
  readonly dev: bigint
  readonly ino: bigint
  readonly birthtimeNs: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly mode: bigint
  readonly uid: bigint
  readonly gid: bigint
}

export class DirectoryVolume implements Volume {
  readonly backing: string
  /** Sessions that nobody closed yet. */
  openSessions = 0

  constructor(backing: string) {
    this.backing = backing
  }

  knows(): boolean {
    return true
  }

  async keyOf(relative: string): Promise<DirectoryKey> {
    return keyOf(await fs.stat(path.join(this.backing, relative), { bigint: true }))
  }

  async pathOf(key: DirectoryKey): Promise<string | undefined> {
    return this.#find(key, '')
  }

  #find(key: DirectoryKey, relative: string): string | undefined {
    const absolute = path.join(this.backing, relative)
    if (keyOf(statSync(absolute, { bigint: true })) === key) return relative
    for (const entry of readdirSync(absolute, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue
      const found = this.#find(key, path.join(relative, entry.name))
      if (found !== undefined) return found
    }
    return undefined
  }

  absolute(key: DirectoryKey): string {
    const found = this.#find(key, '')
    if (found === undefined) throw new VfsError('ESTALE', 'the directory is gone')
    return path.join(this.backing, found)
  }

  async stat(key: DirectoryKey) {
    const { uid, gid, mode, mtimeNs } = await fs.stat(this.absolute(key), { bigint: true })
    return { uid: Number(uid), gid: Number(gid), mode: Number(mode), mtimeNs }
  }

  async access(key: DirectoryKey, principal: Principal, mode: string): Promise<boolean> {
    return may(await fs.stat(this.absolute(key), { bigint: true }), principal, mode)
  }

  async survey(key: DirectoryKey, principal: Principal) {
    const [attributes, mayChange] = await Promise.all([
      this.stat(key),
      this.access(key, principal, 'wx'),
    ])
    return { ...attributes, path: this.#find(key, '') ?? '', mayChange }
  }

  async inputs(key: DirectoryKey, principal: Principal): Promise<InputSession> {
    if (!(await this.access(key, principal, 'rx')))
      throw new VfsError('EACCES', 'the principal may not read the directory')
    return new DirectoryInputs(this, this.absolute(key), principal, [])
  }

  async restoreInputs(
    key: DirectoryKey,
    principal: Principal,
    identities: readonly InputIdentity[],
  ): Promise<InputSession> {
    return new DirectoryInputs(this, this.absolute(key), principal, identities)
  }

  close(): void {}
}

class DirectoryInputs implements InputSession {
  readonly #volume: DirectoryVolume
  readonly #directory: string
  readonly #principal: Principal
  readonly #identities = new Map<string, InputIdentity>()
  #closed = false

  constructor(
    volume: DirectoryVolume,
    directory: string,
    principal: Principal,
    identities: readonly InputIdentity[],
  ) {
    this.#volume = volume
    this.#directory = directory
    this.#principal = principal
    for (const identity of identities) this.#record(identity)
    volume.openSessions += 1
  }

  #record(identity: InputIdentity): void {
    this.#identities.set(`${identity.kind}:${identity.path}`, identity)
  }

  async #look(relative: string, kind: InputIdentity['kind']): Promise<Stats> {
    this.#assertOpen()
    try {
      const stats = await fs.stat(path.join(this.#directory, relative), { bigint: true })
      if (kind === 'file' && !may(stats, this.#principal, 'r'))
        throw new VfsError('EACCES', `${relative} may not be read`)
      this.#record(identityOf(relative, kind, stats))
      return stats
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.#record(missing(relative))
      throw error
    }
  }

  async open(relative: string): Promise<OpenedInput> {
    const stats = await this.#look(relative, 'file')
    return { fd: -1, sizeBytes: Number(stats.size), mtimeNs: stats.mtimeNs }
  }

  async stat(relative: string): Promise<InputAttributes> {
    const stats = await this.#look(relative, 'attributes')
    return { kind: 'file', sizeBytes: Number(stats.size), mtimeNs: stats.mtimeNs }
  }

  async list(relative: string) {
    await this.#look(relative, 'directory')
    const entries = await fs.readdir(path.join(this.#directory, relative), { withFileTypes: true })
    const kindOf = (entry: { isDirectory(): boolean }): EntryKind =>
      entry.isDirectory() ? 'directory' : 'file'
    return entries
      .map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
      .toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))
  }

  async validate(when: 'look' | 'end'): Promise<Validation> {
    this.#assertOpen()
    for (const before of this.#identities.values()) {
      const stats = await fs
        .stat(path.join(this.#directory, before.path), { bigint: true })
        .catch(() => undefined)
      if (stats === undefined) {
        if (before.kind === 'missing') continue
        return { holds: false, path: before.path, why: 'is gone' }
      }
      const now = identityOf(before.path, before.kind, stats)
      const grown = when === 'end' && before.kind === 'file' && now.sizeBytes > before.sizeBytes
      const same =
        now.dev === before.dev &&
        now.ino === before.ino &&
        (grown || (now.sizeBytes === before.sizeBytes && now.ctimeNs === before.ctimeNs))
      if (!same) return { holds: false, path: before.path, why: 'changed' }
    }
    return { holds: true }
  }

  async conclude() {
    const { holds } = await this.validate('look')
    return { holds, readableMode: await this.readableMode() }
  }

  identities(): readonly InputIdentity[] {
    return [...this.#identities.values()]
  }

  async readableMode(): Promise<number> {
    let mode = 0o444
    for (const { path: relative } of this.#identities.values()) {
      const stats = await fs.stat(path.join(this.#directory, relative)).catch(() => undefined)
      mode &= stats?.mode ?? 0o444
    }
    return mode
  }

  close(): void {
    this.#assertOpen()
    this.#closed = true
    this.#volume.openSessions -= 1
  }

  #assertOpen(): void {
    if (this.#closed) throw new VfsError('EBADF', 'the session is closed')
  }
}

function keyOf(stats: Stats): DirectoryKey {
  return `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`
}

function identityOf(relative: string, kind: InputIdentity['kind'], stats: Stats): InputIdentity {
  const { dev, ino, birthtimeNs: birthNs, size: sizeBytes, mtimeNs, ctimeNs } = stats
  return { path: relative, kind, dev, ino, birthNs, sizeBytes, mtimeNs, ctimeNs }
}

function missing(relative: string): InputIdentity {
  const none = { dev: 0n, ino: 0n, birthNs: 0n, sizeBytes: 0n, mtimeNs: 0n, ctimeNs: 0n }
  return { path: relative, kind: 'missing', ...none }
}

const BITS: Record<string, bigint> = { r: 4n, w: 2n, x: 1n }

function may(stats: Stats, principal: Principal, mode: string): boolean {
  if (principal.uid === 0) return true
  const groups = [principal.gid, ...principal.groups]
  const shift =
    BigInt(principal.uid) === stats.uid ? 6n : groups.includes(Number(stats.gid)) ? 3n : 0n
  return mode.split('').every((letter) => ((stats.mode >> shift) & (BITS[letter] ?? 0n)) !== 0n)
}
