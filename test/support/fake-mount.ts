/** A tenant's mount in memory, with the answers of a real one, and failures on demand. */
import { VfsError, type Errno } from '../../src/errors.ts'
import { isWithin } from '../../src/broker/paths.ts'
import type {
  GraftSource,
  InsideChange,
  TenantGraft,
  TenantGraftOptions,
  TenantLatencies,
  TenantMount,
  TenantUsage,
} from '../../src/broker/ports.ts'
import type { ContainerPlace } from '../../src/broker/types.ts'

export interface FakeGraft extends TenantGraft {
  readonly source: GraftSource
  readonly options: TenantGraftOptions
  openHandles: number
  usedBytes: number | undefined
}

export class FakeMount implements TenantMount {
  readonly mountPoint = '/nowhere/tenant'
  readonly deviceMinor = 1_048_575 // nothing has it
  readonly standing = new Map<number, FakeGraft>()
  readonly calls: string[] = []
  readonly counted = new Map<number, Float64Array>()
  /** The next graft or revoke waits for it. */
  hold: Promise<void> | undefined
  /** Until then the kernel shows no graft. */
  showing: Promise<void> | undefined
  /** Paths of the tenant's own files. */
  readonly files = new Set<string>()
  /** Of those inside containers, by `PID:TARGET`. */
  readonly insides = new Map<string, (change: InsideChange) => void>()
  readonly drift = new Map<number, string>()
  #last = 0
  #failures: Errno[] = []

  /** The next calls fail so. */
  fail(...errnos: Errno[]): void {
    this.#failures.push(...errnos)
  }

  async graft(at: string, source: GraftSource, options: TenantGraftOptions): Promise<number> {
    await this.#begin(`graft ${at}`)
    for (const each of this.standing.values()) {
      if (each.at === at) throw new VfsError('EEXIST', `a graft stands at ${at}`)
      if (isWithin(each.at, at)) throw new VfsError('ENOTEMPTY', `something is in ${at}`)
      if (each.options.readOnly && isWithin(at, each.at)) throw new VfsError('EROFS', 'read-only')
    }
    if (this.files.has(at)) throw new VfsError('ENOTEMPTY', `something is in ${at}`)
    const graft = ++this.#last
    const { deviceMinor } = this
    const state = { deviceMinor, openHandles: 0, usedBytes: undefined }
    this.standing.set(graft, { graft, at, source, options, ...state })
    return graft
  }

  inject(
    { consumer, target }: ContainerPlace,
    source: GraftSource,
    options: TenantGraftOptions,
    onChange: (change: InsideChange) => void,
  ): Promise<number> {
    const at = `${consumer.pid}:${target}`
    this.insides.set(at, onChange)
    return this.graft(at, source, options)
  }

  async shown(graft: number): Promise<void> {
    await this.showing
    if (!this.standing.has(graft)) throw new VfsError('ENOENT', `no graft ${graft}`)
  }

  async clear({ consumer, target }: ContainerPlace): Promise<void> {
    await this.#begin(`clear ${consumer.pid}:${target}`)
  }

  async drifted(): Promise<ReadonlyMap<number, string>> {
    return this.drift
  }

  async revoke(graft: number): Promise<void> {
    await this.#begin(`revoke ${graft}`)
    const gone = this.standing.get(graft)
    if (gone === undefined) throw new VfsError('ENOENT', `no graft ${graft}`)
    const within = [...this.standing.values()].filter(({ at }) => isWithin(at, gone.at))
    for (const { options, openHandles } of within)
      if (!options.revocable && openHandles > 0) throw new VfsError('EBUSY', 'open')
    for (const each of within) this.standing.delete(each.graft)
  }

  grafts(): readonly TenantGraft[] {
    return [...this.standing.values()]
  }

  openHandles(graft: number): number {
    const outer = this.standing.get(graft)
    return [...this.standing.values()]
      .filter(({ at }) => outer !== undefined && isWithin(at, outer.at))
      .reduce((sum, { openHandles }) => sum + openHandles, 0)
  }

  usage(): readonly TenantUsage[] {
    return [...this.standing.values()].flatMap(({ graft, usedBytes }) =>
      usedBytes === undefined ? [] : [{ graft, usedBytes }],
    )
  }

  latencies(): readonly TenantLatencies[] {
    return [...this.counted].map(([graft, counts]) => ({ graft, counts }))
  }

  async holdWrites(graft: number): Promise<boolean> {
    await this.#begin(`hold ${graft}`)
    return true
  }

  letWrite(graft: number): void {
    this.calls.push(`let ${graft}`)
  }

  at(path: string): FakeGraft | undefined {
    return [...this.standing.values()].find(({ at }) => at === path)
  }

  get paths(): string[] {
    return [...this.standing.values()].map(({ at }) => at).toSorted()
  }

  async #begin(call: string): Promise<void> {
    this.calls.push(call)
    await (this.hold ?? Promise.resolve())
    const errno = this.#failures.shift()
    if (errno !== undefined) throw new VfsError(errno, 'as the test wants it')
  }
}
