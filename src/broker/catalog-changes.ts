/** What an operator changes while the broker runs: each change is audited, and grants follow it. */
import { BrokerError } from './broker-error.ts'
import { record, type Context } from './context.ts'
import { putVolume, removeVolume } from './making.ts'
import type { Reconciliation } from './ports.ts'
import { reevaluate } from './reconciling.ts'
import { toReport, type GrantReport } from './reports.ts'
import { openIn, takeAll } from './revoking.ts'
import type { Actor } from './store/audit.ts'
import type { Policy, Volume } from './types.ts'

export class CatalogChanges {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  /** BrokerError. Makes what it needs, or changes how it is described. */
  async putVolume(volume: Volume, actor: Actor): Promise<Reconciliation> {
    refuseConfigured(this.#context.volumes.isConfigured(volume.name), volume.name)
    await putVolume(this.#context, volume)
    this.#record('volume-put', volume.name, actor)
    return await reevaluate(this.#context)
  }

  /** False: there was none. Data of ours stays unless `purge`; anybody else's always. */
  async removeVolume(name: string, purge: boolean, actor: Actor): Promise<boolean> {
    refuseConfigured(this.#context.volumes.isConfigured(name), name)
    const removed = await removeVolume(this.#context, name, purge)
    if (removed) this.#record('volume-remove', name, actor, purge ? 'with its data' : undefined)
    return removed
  }

  /** No new grants. Those not in use go at once, with `force` all. What is left is given back. */
  async drain(name: string, force: boolean, actor: Actor): Promise<GrantReport[]> {
    const { table } = this.#context
    this.#setDraining(name, true)
    this.#record('drain', name, actor, force ? 'by force' : undefined)
    const entries = [...table.all()].filter(({ grant }) => grant.volume === name)
    const going = force ? entries : entries.filter((each) => openIn(this.#context, each) === 0)
    const reason = `"${name}" is drained`
    await takeAll(this.#context, going, { event: 'revoked', actor, reason })
    return entries.filter((each) => table.get(each.grant.id) === each).map(toReport)
  }

  undrain(name: string, actor: Actor): void {
    this.#setDraining(name, false)
    this.#record('drain', name, actor, 'ended')
  }

  async putPolicy(policy: Policy, actor: Actor): Promise<Reconciliation> {
    const { policies } = this.#context
    refuseConfigured(policies.isConfigured(policy.name), policy.name)
    policies.put(policy)
    this.#record('policy-put', policy.name, actor)
    return await reevaluate(this.#context)
  }

  /** Undefined: there was none. */
  async removePolicy(name: string, actor: Actor): Promise<Reconciliation | undefined> {
    const { policies } = this.#context
    refuseConfigured(policies.isConfigured(name), name)
    if (!policies.remove(name)) return undefined
    this.#record('policy-remove', name, actor)
    return await reevaluate(this.#context)
  }

  #setDraining(name: string, draining: boolean): void {
    const { volumes } = this.#context
    if (volumes.get(name) === undefined)
      throw new BrokerError('unknown-volume', `there is no volume "${name}"`)
    volumes.setDraining(name, draining)
  }

  #record(
    action: 'volume-put' | 'volume-remove' | 'policy-put' | 'policy-remove' | 'drain',
    subject: string,
    actor: Actor,
    reason?: string,
  ): void {
    const outcome = 'done'
    record(this.#context, { ...actor, action, outcome, tenant: undefined, subject, reason })
  }
}

function refuseConfigured(configured: boolean, name: string): void {
  if (!configured) return
  throw new BrokerError('exists', `"${name}" stands in the configuration file; change it there`)
}
