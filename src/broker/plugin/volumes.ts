/**
 * Volumes of a container engine, each a grant in its tenant's mount while a container uses it. What the
 * engine mounts is counted by the id that it gives, in the state, so that a restart in between loses
 * nothing: the first mount makes the grant, the last unmount gives it back. The count goes first down
 * and last up; a grant that nobody counts is one to take away, whenever that is seen.
 */
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Turns } from '../../turns.ts'
import type { GrantBroker } from '../broker.ts'
import { BrokerError } from '../broker-error.ts'
import { NOBODY } from '../context.ts'
import type { GrantReport } from '../reports.ts'
import type { Actor } from '../store/audit.ts'
import type { PluginVolume } from '../store/plugin-volumes.ts'
import { toWanted } from './options.ts'

export interface PluginVolumeReport {
  readonly volume: PluginVolume
  /** On the host; undefined: no container uses it. */
  readonly mountPoint: string | undefined
  readonly mounts: readonly string[]
}

const MAX_VOLUMES = 10_000
/** Of one volume. */
const MAX_MOUNTS = 1_000
/** The last file of a container that ended is closed a moment after it. */
const CLOSING_MS = 2_000
const TIDY_EVERY_MS = 10_000

export class PluginVolumes {
  readonly #broker: GrantBroker
  readonly #standardTenant: string | undefined
  /** One thing at a time for each volume. */
  readonly #turns = new Turns<string>()
  readonly #tidying: NodeJS.Timeout

  constructor(broker: GrantBroker, standardTenant: string | undefined) {
    this.#broker = broker
    this.#standardTenant = standardTenant
    this.#tidying = setInterval(() => void this.tidy(), TIDY_EVERY_MS)
    this.#tidying.unref()
  }

  /** BrokerError. The same again is no failure. */
  create(name: string, options: Readonly<Record<string, string>>, actor: Actor): Promise<void> {
    return this.#turns.take(name, async () => {
      const { plugin } = this.#broker.store
      const there = plugin.get(name)
      if (there !== undefined) {
        if (isDeepStrictEqual(there.options, options)) return
        throw new BrokerError('exists', `there is a volume "${name}" with other options`)
      }
      if (plugin.size >= MAX_VOLUMES) throw new BrokerError('in-use', 'there are too many volumes')
      const volume = this.#choose(name, options, actor)
      const other = plugin.all().find(({ tenant, request }) => {
        return tenant === volume.tenant && request.at === volume.request.at
      })
      if (other !== undefined)
        throw new BrokerError('at-taken', `"${volume.request.at}" is where "${other.name}" stands`)
      plugin.insert(volume)
      this.#record('plugin-create', volume.tenant, name, actor, 'done')
    })
  }

  /** What is described is chosen now: a volume of the engine is the same one at each mount. */
  #choose(name: string, options: Readonly<Record<string, string>>, actor: Actor): PluginVolume {
    const { tenant, request } = toWanted(name, options, this.#standardTenant)
    const selection = this.#broker.explain(tenant, request)
    if (selection.chosen === undefined) {
      const { code, reason } = selection.refusal
      this.#record('plugin-create', tenant, name, actor, 'refused', `${code}: ${reason}`)
      throw new BrokerError(code, reason)
    }
    const fixed = { ...request, volume: selection.chosen.name, select: undefined }
    return { name, tenant, request: fixed, options, createdAtMs: Date.now() }
  }

  /** Where it is on the host, once it is seen there. */
  mount(name: string, id: string, actor: Actor): Promise<string> {
    return this.#turns.take(name, async () => {
      const { plugin } = this.#broker.store
      const volume = this.#find(name)
      const counted = plugin.mounts(name)
      if (counted.length >= MAX_MOUNTS && !counted.includes(id))
        throw new BrokerError('too-many-requests', `"${name}" has too many mounts`)
      // The key makes it the same grant as long as that stands.
      const requested = { actor, key: keyOf(name) }
      const { grant } = await this.#broker.mount(volume.tenant, volume.request, requested)
      const why = this.#broker.grant(grant.id)?.reason
      if (why !== undefined) throw new BrokerError('backing-unavailable', why)
      try {
        plugin.addMount(name, id)
      } catch (error) {
        if (counted.length === 0) await this.#release(volume, actor)
        throw error
      }
      return this.#placeOf(volume)
    })
  }

  /** What is not mounted is no failure: that is what was asked for. */
  unmount(name: string, id: string, actor: Actor): Promise<void> {
    return this.#turns.take(name, async () => {
      const { plugin } = this.#broker.store
      const volume = plugin.get(name)
      if (volume === undefined) return
      plugin.removeMount(name, id)
      if (plugin.mounts(name).length === 0) await this.#release(volume, actor)
    })
  }

  remove(name: string, actor: Actor): Promise<void> {
    return this.#turns.take(name, async () => {
      const { plugin } = this.#broker.store
      const volume = this.#find(name)
      const mounts = plugin.mounts(name).length
      if (mounts > 0) throw new BrokerError('in-use', `"${name}" is mounted, ${mounts} times`)
      // One that is left over would be found again by a later volume of that name.
      if (!(await this.#release(volume, actor)))
        throw new BrokerError('busy', `"${name}" is in use still`)
      plugin.remove(name)
      this.#record('plugin-remove', volume.tenant, name, actor, 'done')
    })
  }

  get(name: string): PluginVolumeReport {
    return this.#report(this.#find(name))
  }

  list(): PluginVolumeReport[] {
    return this.#broker.store.plugin.all().map((volume) => this.#report(volume))
  }

  /**
   * Takes away what nobody counts: after a crash, a reboot, or when it could not be done before. What
   * fails is tried again.
   */
  async tidy(): Promise<void> {
    const { store, log } = this.#broker
    try {
      for (const { name } of store.plugin.all())
        await this.#turns.take(name, async () => {
          const volume = store.plugin.get(name)
          if (volume !== undefined && store.plugin.mounts(name).length === 0)
            await this.#release(volume, NOBODY)
        })
    } catch (error) {
      log.error({ err: error }, 'tidying up the volumes of the plugin')
    }
  }

  close(): void {
    clearInterval(this.#tidying)
  }

  #find(name: string): PluginVolume {
    const volume = this.#broker.store.plugin.get(name)
    if (volume !== undefined) return volume
    throw new BrokerError('unknown-volume', `there is no volume "${name}"`)
  }

  #report(volume: PluginVolume): PluginVolumeReport {
    const mounts = this.#broker.store.plugin.mounts(volume.name)
    const there = mounts.length > 0 && this.#grantOf(volume)?.state === 'active'
    return { volume, mounts, mountPoint: there ? this.#placeOf(volume) : undefined }
  }

  #grantOf({ name, tenant, request }: PluginVolume): GrantReport | undefined {
    return this.#broker.standing(tenant, request.at, keyOf(name))
  }

  #placeOf({ tenant, request }: PluginVolume): string {
    return path.join(this.#broker.tenant(tenant).mount.mountPoint, request.at)
  }

  /** Waits for what a container left open, then takes it along. False: it stands still, for now. */
  async #release(volume: PluginVolume, actor: Actor): Promise<boolean> {
    const grant = this.#grantOf(volume)
    if (grant === undefined) return true
    const { tenant } = volume
    const target = { grant: grant.id }
    const gently = { force: false, waitMs: CLOSING_MS, signal: undefined }
    try {
      await this.#broker.unmount(tenant, target, gently, actor)
    } catch {
      try {
        await this.#broker.unmount(tenant, target, { ...gently, force: true }, actor)
      } catch (error) {
        this.#broker.log.warn({ err: error, name: volume.name }, 'a volume is given back later')
        return false
      }
    }
    return true
  }

  #record(
    action: 'plugin-create' | 'plugin-remove',
    tenant: string,
    subject: string,
    actor: Actor,
    outcome: 'done' | 'refused',
    reason?: string,
  ): void {
    const { uid, pid, container } = actor
    this.#broker.record({ uid, pid, container, action, outcome, tenant, subject, reason })
  }
}

/** No tenant's: a key that a request brings has no space. */
function keyOf(name: string): string {
  return `plugin ${name}`
}
