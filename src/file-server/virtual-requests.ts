import { constants } from 'node:os'

import type { NativeRequest } from '../addon/virtual.ts'
import { errnoOf } from '../errors.ts'
import type { Notice, VirtualHandler, VirtualReply, VirtualRequest } from './types.ts'

/** Takes a reply down; false when whoever asked is gone. */
export type TakeReply = (id: number, errno: number, reply: VirtualReply | undefined) => boolean

/**
 * Between the native server, which numbers requests and aborts them, and the handler, which returns
 * promises. Nobody is left with a handle that the kernel never heard of: an open that was answered too
 * late is released.
 */
export class VirtualRequests {
  readonly #handler: VirtualHandler
  readonly #onNotice: (notice: Notice) => void
  readonly #take: TakeReply
  readonly #waiting = new Map<number, AbortController>()

  constructor(handler: VirtualHandler, onNotice: (notice: Notice) => void, take: TakeReply) {
    this.#handler = handler
    this.#onNotice = onNotice
    this.#take = take
  }

  /** Never throws. */
  dispatch(id: number, request: NativeRequest | undefined): void {
    if (request === undefined) this.#waiting.get(id)?.abort()
    else if (request.op === 'reserved-name-taken' || request.op === 'compute-not-granted')
      this.#onNotice({ kind: request.op, path: request.path })
    else void this.#handle(id, request)
  }

  async #handle(id: number, request: VirtualRequest): Promise<void> {
    const controller = new AbortController()
    this.#waiting.set(id, controller)
    let errno = 0
    let reply: VirtualReply | undefined
    try {
      reply = await this.#handler(request, controller.signal)
    } catch (error) {
      errno = constants.errno[errnoOf(error)]
    }
    this.#waiting.delete(id)
    const taken = this.#take(id, errno, reply)
    if (!taken && request.op === 'open' && reply?.handle !== undefined) this.#release(reply.handle)
  }

  #release(handle: number): void {
    // Its reply means nothing, and its failure nothing to anybody.
    this.#handler({ op: 'release', handle }, new AbortController().signal).catch(() => {})
  }
}
