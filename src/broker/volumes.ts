/**
 * The volumes that there are, and how they are. Free space is looked up in the background, since a
 * backing that hangs must not hold up who asks for another one.
 */
import { access, constants, statfs } from 'node:fs/promises'
import type { Candidate } from './select.ts'
import type { Catalog } from './store/catalog.ts'
import type { Volume, VolumeState } from './types.ts'

/** From the file server: p99 of recent operations, and operations a second. */
export interface Measurement {
  readonly p99Us: number | undefined
  readonly load: number
}

interface Space {
  readonly freeBytes: number
  readonly totalBytes: number
  readonly readOnly: boolean
  /** Why it is not well. */
  readonly fault: string | undefined
}

/** Makes a volume reachable that has to be mounted first; why it is not, else undefined. */
export type Provide = (volume: Volume) => Promise<string | undefined>

/** What is used of the quotas of a volume. Asked before free space is looked at, and counted once it is
 * known: so what is written in between is never taken for free, and what was written not for reserved. */
export interface Usage {
  sample(): void
  /** Counts what `sample` found of it last. */
  settle(volume: string): () => void
}

interface Known {
  space: Space
  measured: Measurement
  /** Since when a look has no answer. */
  lookingSinceMs: number | undefined
  lookedAtMs: number
}

const LOOK_EVERY_MS = 5_000
/** A filesystem that takes longer to say how full it is, is not well. */
const PATIENCE_MS = 2_000
/** Node has four threads for such calls: two are left when backings hang. */
const MAX_LOOKS = 2

const UNKNOWN: Space = {
  freeBytes: 0,
  totalBytes: 0,
  readOnly: false,
  fault: 'nobody has looked at it yet',
}

export class Volumes {
  readonly #catalog: Catalog
  readonly #provide: Provide
  readonly #usage: Usage
  #configured = new Map<string, Volume>()
  #made = new Map<string, Volume>()
  #drains: Set<string>
  readonly #known = new Map<string, Known>()
  #looks = 0
  readonly #timer: NodeJS.Timeout

  constructor(catalog: Catalog, provide: Provide, usage: Usage) {
    this.#catalog = catalog
    this.#usage = usage
    this.#provide = provide
    this.#drains = catalog.drains()
    this.#made = byName(catalog.volumes.all())
    this.#timer = setInterval(() => void this.#lookAround(), LOOK_EVERY_MS)
    this.#timer.unref()
  }

  /** Those of the configuration file. */
  configure(volumes: readonly Volume[]): void {
    this.#configured = byName(volumes)
    this.#forgetGone()
  }

  get(name: string): Volume | undefined {
    const volume = this.#configured.get(name) ?? this.#made.get(name)
    if (volume === undefined) return undefined
    return { ...volume, draining: volume.draining || this.#drains.has(name) }
  }

  isConfigured(name: string): boolean {
    return this.#configured.has(name)
  }

  all(): Volume[] {
    return [...new Set([...this.#configured.keys(), ...this.#made.keys()])]
      .toSorted()
      .flatMap((name) => this.get(name) ?? [])
  }

  async put(volume: Volume): Promise<void> {
    this.#catalog.volumes.put(volume)
    this.#made.set(volume.name, volume)
    await this.look(volume.name)
  }

  remove(name: string): boolean {
    if (!this.#catalog.volumes.remove(name)) return false
    this.#made.delete(name)
    this.#catalog.setDraining(name, false, Date.now())
    this.#drains.delete(name)
    this.#forgetGone()
    return true
  }

  setDraining(name: string, draining: boolean): void {
    this.#catalog.setDraining(name, draining, Date.now())
    if (draining) this.#drains.add(name)
    else this.#drains.delete(name)
  }

  measure(name: string, measured: Measurement): void {
    const known = this.#known.get(name)
    if (known !== undefined) known.measured = measured
  }

  /** `placed`: what the grants of a volume reserve and how many they are. */
  candidate(
    volume: Volume,
    placed: { readonly grants: number; readonly reservedBytes: number },
  ): Candidate {
    const known = this.#known.get(volume.name)
    const space = known?.space ?? UNKNOWN // never seen: not well
    const overdue = known !== undefined && isOverdue(known)
    const fault = overdue ? 'its filesystem does not answer' : space.fault
    const state: VolumeState = {
      ...space,
      ...placed,
      measuredP99Us: known?.measured.p99Us,
      load: known?.measured.load ?? 0,
      healthy: fault === undefined,
      fault,
    }
    return { volume, state }
  }

  /** How full they are now; of one, or of all. Waits no longer than patience. */
  async look(name?: string): Promise<void> {
    this.#usage.sample()
    const names = name === undefined ? this.all().map((volume) => volume.name) : [name]
    const left = names.values()
    const workers = Array.from({ length: MAX_LOOKS }, async () => {
      for (const each of left) await this.#look(each)
    })
    await Promise.race([Promise.all(workers), delay(PATIENCE_MS)])
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #lookAround(): Promise<void> {
    this.#usage.sample()
    const oldest = [...this.#known]
      .toSorted(([, one], [, other]) => one.lookedAtMs - other.lookedAtMs)
      .map(([name]) => name)
    for (const name of oldest) {
      if (this.#looks >= MAX_LOOKS) return
      await Promise.race([this.#look(name), delay(PATIENCE_MS)])
    }
  }

  async #look(name: string): Promise<void> {
    const volume = this.get(name)
    if (volume === undefined) return
    const known = this.#known.get(name) ?? {
      space: UNKNOWN,
      measured: { p99Us: undefined, load: 0 },
      lookingSinceMs: undefined,
      lookedAtMs: 0,
    }
    this.#known.set(name, known)
    if (known.lookingSinceMs !== undefined) return
    if (this.#looks >= MAX_LOOKS) return
    known.lookingSinceMs = Date.now()
    this.#looks += 1
    const settle = this.#usage.settle(name)
    try {
      known.space = await this.#spaceOf(volume)
      settle()
    } catch (error) {
      const { code = String(error) } = error as NodeJS.ErrnoException
      known.space = { ...known.space, freeBytes: 0, fault: `its tree cannot be used: ${code}` }
    } finally {
      this.#looks -= 1
      known.lookingSinceMs = undefined
      known.lookedAtMs = Date.now()
    }
  }

  async #spaceOf(volume: Volume): Promise<Space> {
    const fault = await this.#provide(volume)
    if (fault !== undefined) return { freeBytes: 0, totalBytes: 0, readOnly: false, fault }
    const { bavail, blocks, bsize } = await statfs(volume.backing)
    const readOnly = volume.modes.includes('rw') && (await isReadOnly(volume.backing))
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize, readOnly, fault: undefined }
  }

  #forgetGone(): void {
    for (const name of this.#known.keys())
      if (this.get(name) === undefined) this.#known.delete(name)
  }
}

/** Also of one that the kernel made read-only after an error. */
async function isReadOnly(backing: string): Promise<boolean> {
  try {
    await access(backing, constants.W_OK)
    return false
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EROFS') return true
    if (code === 'EACCES') return false // where we are not root; the file server will say
    throw error
  }
}

function isOverdue({ lookingSinceMs }: Known): boolean {
  return lookingSinceMs !== undefined && Date.now() - lookingSinceMs > PATIENCE_MS
}

function byName(volumes: readonly Volume[]): Map<string, Volume> {
  return new Map(volumes.map((volume) => [volume.name, volume]))
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
