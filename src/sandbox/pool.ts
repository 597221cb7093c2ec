/**
 * Who gets which worker: tenants by their shares, principals of a tenant alike. A worker serves one principal of one tenant from its first program to its
 * end; blank ones wait so that nobody waits for a process to start. Every program gets an isolate of
 * its own, made while the worker is idle.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Principal } from '../file-server/types.ts'
import { FairQueue, type Head } from './fair-queue.ts'
import type { RunLimits, SandboxOptions } from './types.ts'
import { type Worker, WorkerDeath } from './worker.ts'

/** After that many programs a worker is replaced: whatever leaks in it, leaks no further. */
const MAX_PROGRAMS = 1_000

/** Blank workers for later are started once the one who is served now has had the processor. */
const RESERVE_DELAY_MS = 100

/** How often idle workers are looked at, and the processor time that one may use since it came to
 * rest: collecting garbage takes less, and a program's native code must not go on after its run. */
const IDLE_LOOK_MS = 1_000
const IDLE_CPU_MS = 1_000

/** A new isolate is made once the answer of the last one has been read. */
const RENEW_DELAY_MS = 3

/** Who waits for longer has a worker of somebody who has more of them: a new process costs a tenth of
 * a second, so that one does not go from hand to hand at every program. */
const TURN_MS = 250

/** Between attempts to start workers after one failed: twice as long each time, up to a minute. */
const RETRY_MS = 1_000
const MAX_RETRY_MS = 60_000

export interface Job {
  readonly tenant: string
  readonly owner: string
  readonly source: Uint8Array
  readonly library: Uint8Array | undefined
}

export interface Member {
  readonly worker: Worker
  state: 'starting' | 'idle' | 'busy' | 'renewing'
  /** undefined: blank. */
  owner: string | undefined
  /** Of the owner. */
  tenant: string | undefined
  /** What its isolate has compiled and not run. */
  loaded: { readonly source: Uint8Array; readonly library: Uint8Array | undefined } | undefined
  programs: number
  /** Of its whole life, when it came to rest. */
  restedAtCpuMs: number
  idleTimer: NodeJS.Timeout | undefined
}

export interface Ticket {
  /** Rejects with PoolRefusal. */
  readonly member: Promise<Member>
  /** Gives the place in the queue up; false when a worker was given already. */
  cancel(): boolean
}

export class PoolRefusal extends Error {
  override readonly name = 'PoolRefusal'
  readonly reason: 'queue' | 'unavailable' | 'cancelled'

  constructor(reason: PoolRefusal['reason'], message: string) {
    super(message)
    this.reason = reason
  }
}

interface Waiting extends PromiseWithResolvers<Member> {
  readonly job: Job
  readonly since: number
}

export function ownerOf(tenant: string, principal: Principal): string {
  const groups = [...principal.groups].toSorted((a, b) => a - b)
  return JSON.stringify([tenant, principal.uid, principal.gid, groups])
}

export class Pool {
  readonly #options: SandboxOptions
  readonly #warmLimits: RunLimits
  readonly #launch: typeof Worker.launch
  readonly #members = new Set<Member>()
  readonly #queue: FairQueue<Waiting>
  readonly #slots = new Set<number>()
  #reserveTimer: NodeJS.Timeout | undefined
  /** A start failed: until then (performance.now), what is there has to do. */
  #retryAt = 0
  #failures = 0
  #closed = false
  readonly #idleLook: NodeJS.Timeout

  constructor(options: SandboxOptions, warmLimits: RunLimits, launch: typeof Worker.launch) {
    this.#options = options
    this.#warmLimits = warmLimits
    this.#launch = launch
    this.#queue = new FairQueue(options.queuedRuns)
    this.#fillReserve()
    this.#idleLook = setInterval(() => this.#lookAtIdle(), IDLE_LOOK_MS).unref()
  }

  take(job: Job): Ticket {
    const since = performance.now()
    const waiting: Waiting = { ...Promise.withResolvers<Member>(), job, since }
    if (this.#closed) waiting.reject(new PoolRefusal('cancelled', 'the sandbox is closed'))
    else if (!this.#queue.push(job.tenant, job.owner, waiting)) {
      const message = `${this.#options.queuedRuns} programs wait already: try again later`
      waiting.reject(new PoolRefusal('queue', message))
    }
    this.#pump()
    return {
      member: waiting.promise,
      cancel: () => {
        if (!this.#queue.remove(job.tenant, job.owner, waiting)) return false
        waiting.reject(new PoolRefusal('cancelled', 'cancelled while it waited'))
        return true
      },
    }
  }

  /** `sound`: it may serve its principal again. */
  giveBack(member: Member, sound: boolean): void {
    const { worker } = member
    member.programs += 1
    if (!sound || this.#closed || member.programs >= MAX_PROGRAMS)
      worker.kill({ kind: 'cancelled' })
    if (worker.dead) return
    if (member.loaded !== undefined) this.#rest(member)
    else void this.#renew(member)
  }

  /** Sees to it that this principal will not wait for a process to start. */
  warm(owner: string): void {
    for (const member of this.#members)
      if (member.owner === owner || member.owner === undefined) return
    this.#provision(1)
  }

  statistics(): { workers: number; idle: number; runs: number; queued: number } {
    const states = [...this.#members].map((member) => member.state)
    return {
      workers: states.length,
      idle: states.filter((state) => state === 'idle').length,
      runs: states.filter((state) => state === 'busy').length,
      queued: this.#queue.size,
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#reserveTimer)
    clearInterval(this.#idleLook)
    this.#refuseAll(new PoolRefusal('cancelled', 'the sandbox was closed'))
    const members = [...this.#members]
    for (const { worker } of members) worker.kill({ kind: 'cancelled' })
    await Promise.all(members.map(({ worker }) => worker.gone))
  }

  /** Gives idle workers to those who wait. */
  #pump(): void {
    while (this.#serveNext());
    this.#provision()
  }

  /** False: nobody is to be served now. */
  #serveNext(): boolean {
    let coming = this.#options.maxWorkers - this.#slots.size
    for (const { state, owner } of this.#members)
      if (owner === undefined && state === 'starting') coming += 1
    const now = performance.now()
    for (const { tenant, principal, item } of this.#byNeed()) {
      const member = this.#pick(item.job)
      if (member !== undefined) {
        this.#queue.shift(tenant, principal)
        clearTimeout(member.idleTimer)
        member.state = 'busy'
        member.owner = item.job.owner
        member.tenant = tenant
        item.resolve(member)
        return true
      }
      // One that is started will be his. If none is, those who have more do not go on before him:
      // their next idle worker makes room.
      if (coming > 0) coming -= 1
      else if (now - item.since >= TURN_MS) return false
    }
    return false
  }

  /** Those who wait: first who has least of what is his share, then the principal who has least. */
  #byNeed(): Head<Waiting>[] {
    const heads = [...this.#queue.heads()]
    if (heads.length < 2) return heads
    const tenants = new Map<string, number>()
    const principals = new Map<string, number>()
    for (const { state, tenant, owner } of this.#members) {
      if (state !== 'busy' || tenant === undefined || owner === undefined) continue
      tenants.set(tenant, (tenants.get(tenant) ?? 0) + 1 / this.#shareOf(tenant))
      principals.set(owner, (principals.get(owner) ?? 0) + 1)
    }
    const need = (of: ReadonlyMap<string, number>, name: string): number => of.get(name) ?? 0
    // Equals in the order of their turns: the sort is stable.
    return heads.toSorted(
      (one, other) =>
        need(tenants, one.tenant) - need(tenants, other.tenant) ||
        need(principals, one.principal) - need(principals, other.principal),
    )
  }

  #shareOf(tenant: string): number {
    return this.#options.shareOf?.(tenant) ?? 1
  }

  /** The idle worker that costs least: compiled already, clean, blank, or holding something else. */
  #pick(job: Job): Member | undefined {
    let best: Member | undefined
    let bestCost = Infinity
    for (const member of this.#members) {
      if (member.state !== 'idle' || member.worker.dead) continue
      const own = member.owner === job.owner
      if (!own && member.owner !== undefined) continue
      const cost = holds(member, job) ? 0 : !own ? 2 : member.loaded === undefined ? 1 : 3
      if (cost < bestCost) [best, bestCost] = [member, cost]
    }
    return best
  }

  /** Starts workers: at once for those who wait, a little later for the reserve. */
  #provision(reserve = 0): void {
    if (this.#closed) return
    const owners = new Set([...this.#queue.items()].map(({ job }) => job.owner))
    let coming = 0
    for (const { state, owner } of this.#members) {
      const blank = owner === undefined && (state === 'starting' || state === 'idle')
      // Milliseconds away, where a new process takes a tenth of a second.
      const renewing = owner !== undefined && state === 'renewing' && owners.has(owner)
      if (blank || renewing) coming += 1
    }
    const missing = this.#queue.size + reserve - coming
    for (let i = 0; i < missing; i += 1) if (!this.#start()) break
    if (missing > 0 && this.#slots.size >= this.#options.maxWorkers) this.#evict()
    this.#reserveTimer ??= setTimeout(
      () => this.#fillReserve(),
      Math.max(RESERVE_DELAY_MS, this.#retryAt - performance.now()),
    ).unref()
  }

  #fillReserve(): void {
    this.#reserveTimer = undefined
    if (this.#closed || performance.now() < this.#retryAt || this.#queue.size > 0) return
    let blank = 0
    for (const { owner } of this.#members) if (owner === undefined) blank += 1
    for (; blank < this.#options.idleWorkers; blank += 1) if (!this.#start()) return
  }

  /** False when there is no room for another, or no use in trying. */
  #start(): boolean {
    if (this.#slots.size >= this.#options.maxWorkers) return false
    if (this.#members.size > 0 && performance.now() < this.#retryAt) return false
    let slot = 0
    while (this.#slots.has(slot)) slot += 1
    let worker: Worker
    try {
      worker = this.#launch(this.#options.jail, slot, this.#warmLimits)
    } catch (error) {
      this.#fail(error)
      return false
    }
    const member: Member = {
      worker,
      state: 'starting',
      owner: undefined,
      tenant: undefined,
      loaded: undefined,
      programs: 0,
      restedAtCpuMs: 0,
      idleTimer: undefined,
    }
    this.#slots.add(slot)
    this.#members.add(member)
    void worker.gone.then(() => {
      clearTimeout(member.idleTimer)
      this.#members.delete(member)
      this.#slots.delete(slot)
      // One that never came to life is dealt with below: first it is known why, then tried again.
      if (member.state !== 'starting') this.#pump()
    })
    worker.launched().then(
      () => {
        this.#failures = 0
        this.#rest(member)
      },
      // Its place is free for another by then.
      (error: unknown) => worker.gone.then(() => this.#fail(error)),
    )
    return true
  }

  async #renew(member: Member): Promise<void> {
    member.state = 'renewing'
    // The answer's way to its reader comes first; the processors are few.
    if (this.#queue.size === 0) await sleep(RENEW_DELAY_MS)
    try {
      await member.worker.renew(member.worker.limits)
      if (member.worker.grown()) member.worker.kill({ kind: 'cancelled' })
      this.#rest(member)
    } catch {
      member.worker.kill({ kind: 'crashed', message: 'the worker did not make a new isolate' })
    }
  }

  #rest(member: Member): void {
    if (member.worker.dead) return
    member.state = 'idle'
    member.restedAtCpuMs = member.worker.cpuMs()
    member.idleTimer = setTimeout(() => this.#idled(member), this.#options.idleMs)
    member.idleTimer.unref()
    this.#pump()
  }

  #lookAtIdle(): void {
    for (const { state, worker, restedAtCpuMs } of this.#members) {
      if (state !== 'idle' || worker.dead) continue
      if (worker.grown() || worker.cpuMs() > restedAtCpuMs + IDLE_CPU_MS)
        worker.kill({ kind: 'crashed', message: 'the worker went on after its run' })
    }
  }

  /** Blank ones stay as far as they are the reserve. */
  #idled(member: Member): void {
    if (member.state !== 'idle') return
    const blank = [...this.#members].filter(({ owner }) => owner === undefined).length
    if (member.owner !== undefined || blank > this.#options.idleWorkers)
      member.worker.kill({ kind: 'cancelled' })
  }

  /** All places are taken and somebody waits: an idle worker of another principal goes. */
  #evict(): void {
    for (const { state, worker } of this.#members) if (state === 'idle' && worker.dead) return
    for (const member of this.#members) {
      if (member.state !== 'idle' || member.owner === undefined) continue
      member.worker.kill({ kind: 'cancelled' })
      return
    }
  }

  #fail(error: unknown): void {
    if (this.#closed) return
    this.#failures += 1
    // Once may be an accident: those who wait get a second try.
    if (this.#failures === 1 && this.#queue.size > 0 && this.#start()) return
    this.#retryAt = performance.now() + Math.min(RETRY_MS * 2 ** (this.#failures - 1), MAX_RETRY_MS)
    // Those who wait are served by the others, if there are any.
    if ([...this.#members].some(({ worker }) => !worker.dead)) return
    const death = error instanceof WorkerDeath ? error.death : undefined
    const message =
      death !== undefined && 'message' in death ? death.message : (error as Error).message
    this.#refuseAll(new PoolRefusal('unavailable', message))
    this.#provision()
  }

  #refuseAll(refusal: PoolRefusal): void {
    for (const waiting of this.#queue.clear()) waiting.reject(refusal)
  }
}

export function holds(member: Member, job: Job): boolean {
  const { loaded } = member
  if (loaded === undefined || Buffer.compare(loaded.source, job.source) !== 0) return false
  return loaded.library === undefined || job.library === undefined
    ? loaded.library === job.library
    : Buffer.compare(loaded.library, job.library) === 0
}
