/** GET /events: what happens to the tenant's grants, as server-sent events. */
import type { ServerResponse } from 'node:http'
import { BrokerError } from '../broker-error.ts'
import type { Events, GrantEvent } from '../events.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { grantView, iso } from './views.ts'

export class EventStreams {
  readonly #events: Events
  readonly #open = new Map<string, Set<ServerResponse>>()

  constructor(events: Events) {
    this.#events = events
  }

  /** Ends with the connection. */
  open(tenant: string, response: ServerResponse): void {
    const streams = this.#open.get(tenant) ?? new Set()
    if (streams.size >= HTTP_BOUNDS.eventClients)
      throw new BrokerError('too-many-requests', 'there are too many listeners')
    this.#open.set(tenant, streams.add(response))
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    response.write(': listening\n\n')
    const write = (text: string): void => {
      // Who does not read what happened is cut off, and lists anew when it comes back.
      if (response.writableLength > HTTP_BOUNDS.eventBacklogBytes) response.destroy()
      else response.write(text)
    }
    const unsubscribe = this.#events.subscribe(tenant, (event) => write(toText(event)))
    const beat = setInterval(() => write(': still here\n\n'), HTTP_BOUNDS.eventBeatMs)
    beat.unref()
    response.once('close', () => {
      unsubscribe()
      clearInterval(beat)
      streams.delete(response)
      if (streams.size === 0) this.#open.delete(tenant)
    })
  }

  close(tenant: string): void {
    for (const response of this.#open.get(tenant) ?? []) response.destroy()
  }

  get size(): number {
    return [...this.#open.values()].reduce((sum, streams) => sum + streams.size, 0)
  }
}

function toText({ id, type, atMs, grant, reason }: GrantEvent): string {
  const data = JSON.stringify({ type, at: iso(atMs), grant: grantView(grant), reason })
  return `id: ${id}\nevent: ${type}\ndata: ${data}\n\n`
}
