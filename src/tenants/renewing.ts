/** What containers have bind-mounted of a tenant's mount whose server died comes back with the new one. */
import { renewBinds } from '../containers/renewal.ts'
import type { Logger } from '../telemetry/log.ts'
import type { DeadConnection } from './dead-mounts.ts'

export interface RenewingOptions {
  readonly mountPoint: string
  /** Where grants stand that are not in the mount now. */
  readonly absent: () => readonly string[]
  readonly log: Logger
}

/** Between two tries, for grants whose volume is away. */
const RETRY_MS = 10_000
/** For an hour; then a container has to be started anew. */
const MAX_TRIES = 360

export class Renewing {
  readonly #options: RenewingOptions
  readonly #dead: DeadConnection[] = []
  #timer: NodeJS.Timeout | undefined
  #tries = 0

  constructor(options: RenewingOptions) {
    this.#options = options
  }

  /** They are closed by `close`, or when there is nothing left to do for them. */
  add(dead: readonly DeadConnection[]): void {
    this.#dead.push(...dead)
  }

  /** Once the mount shows what is granted. Never rejects. */
  async run(): Promise<void> {
    const { mountPoint, absent, log } = this.#options
    clearTimeout(this.#timer)
    const points = absent()
    const isAbsent = (root: string): boolean =>
      points.some((at) => root === `/${at}` || root.startsWith(`/${at}/`))
    for (const each of [...this.#dead]) {
      try {
        const { deviceMinor } = each
        const { renewed, left } = await renewBinds({ deviceMinor, mountPoint, isAbsent })
        if (renewed > 0) log.info({ renewed }, 'mounts in containers were renewed')
        if (left > 0) log.warn({ left }, 'mounts in containers stay dead')
        if (left > 0 && points.length > 0 && this.#tries < MAX_TRIES) continue
      } catch (error) {
        log.error({ err: error }, 'mounts in containers could not be renewed')
      }
      this.#dead.splice(this.#dead.indexOf(each), 1)
      await each.close()
    }
    this.#tries += 1
    if (this.#dead.length > 0) this.#timer = setTimeout(() => void this.run(), RETRY_MS).unref()
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    for (const each of this.#dead.splice(0)) await each.close()
  }
}
