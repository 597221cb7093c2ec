/** What happens to grants, told to whoever listens for that tenant. */
import type { Grant } from './types.ts'

export type EventType =
  'mounted' | 'unmounted' | 'revoked' | 'expired' | 'restored' | 'busy' | 'unavailable' | 'drifted'

export interface GrantEvent {
  /** Grows; of this process. */
  readonly id: number
  readonly type: EventType
  readonly atMs: number
  readonly grant: Grant
  readonly reason: string | undefined
}

type Listener = (event: GrantEvent) => void

export class Events {
  readonly #listeners = new Map<string, Set<Listener>>()
  #last = 0

  /** Returns what ends it. Listeners neither throw nor wait. */
  subscribe(tenant: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(tenant) ?? new Set()
    this.#listeners.set(tenant, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(tenant)
    }
  }

  tell(type: EventType, grant: Grant, atMs: number, reason?: string): void {
    const event = { id: ++this.#last, type, atMs, grant, reason }
    for (const listener of this.#listeners.get(grant.tenant) ?? []) listener(event)
  }
}
