/**
 * Who connects where it may not is told why, and the audit hears of it: so often a second. Who goes on is closed
 * without a look, many in one turn of the event loop, so that it neither fills the queue of the kernel, which
 * keeps others out, nor takes the daemon from them.
 */
import { Socket, type Server } from 'node:net'
import { addon } from '../../addon/index.ts'
import { HTTP_BOUNDS } from './bounds.ts'
import { descriptorOf } from './peer.ts'

export class Outsiders {
  readonly #known = new Map<number, { tellings: number; atMs: number }>()
  readonly #onTurnedAway: (count: number) => void

  constructor(onTurnedAway: (count: number) => void) {
    this.#onTurnedAway = onTurnedAway
  }

  /** Whether it is told once more. */
  tell(uid: number, nowMs = performance.now()): boolean {
    const one = this.#known.get(uid) ?? { tellings: HTTP_BOUNDS.tellings, atMs: nowMs }
    const gained = ((nowMs - one.atMs) / 1_000) * HTTP_BOUNDS.tellingsPerSecond
    one.tellings = Math.min(HTTP_BOUNDS.tellings, one.tellings + gained)
    one.atMs = nowMs
    if (this.#known.size >= HTTP_BOUNDS.outsidersKnown) this.#known.clear()
    this.#known.set(uid, one)
    if (one.tellings < 1) return false
    one.tellings -= 1
    return true
  }

  /** With one that is told nothing any more others of it come: whoever is behind them, if somebody is. */
  turnAway(server: Server): Socket | undefined {
    const uids = [...this.#known].filter(([, { tellings }]) => tellings < 1).map(([uid]) => uid)
    const listening = descriptorOf(server)
    const { closed, next } = addon.turnAway(
      listening,
      new Uint32Array(uids),
      HTTP_BOUNDS.turnedAway,
    )
    this.#onTurnedAway(closed + 1)
    return next < 0 ? undefined : new Socket({ fd: next, allowHalfOpen: true })
  }
}
