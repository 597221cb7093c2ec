/**
 * What one tenant is granted inside running containers. Each container has a connection of its own, whose
 * mount is attached nowhere: every grant is a graft in it, and a clone of that graft alone is moved into the
 * container. So nothing above the grant's root is ever in reach there, and a container that aborts its
 * connection aborts nobody else's. The connection goes with the container: when no process is in its mount
 * namespace any more.
 */
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import path from 'node:path'
import type {
  GraftSource,
  InsideChange,
  TenantGraft,
  TenantGraftOptions,
  TenantLatencies,
  TenantUsage,
} from '../broker/ports.ts'
import type { ContainerPlace, Tenant } from '../broker/types.ts'
import { makeDirectories } from '../config/directories.ts'
import { attach, detach, prepare } from '../containers/attach.ts'
import { type Consumer, isThere, keyOf, livingIn, look, watch } from '../containers/consumer.ts'
import { type IdMaps, idMapsFor } from '../containers/id-maps.ts'
import { mountAtEnd, mountsOf } from '../containers/mount-view.ts'
import { errnoOf, VfsError } from '../errors.ts'
import type { FileServer, GraftStatistics } from '../file-server/types.ts'
import type { Logger } from '../telemetry/log.ts'
import { orUndo } from './assembly.ts'
import { MountMarks } from './mount-marks.ts'

export interface ContainerMountsOptions {
  /** Of the tenant's state: a folder a container. */
  readonly directory: string
  readonly ids: Tenant['ids']
  readonly serve: (
    own: ContainerVolume,
    onEnded: (reason: string) => void,
    undo: AsyncDisposableStack,
  ) => Promise<FileServer>
  readonly log: Logger
}

/** A mount of `backing` that is attached nowhere, with its programs in `stateDirectory`. */
export interface ContainerVolume {
  readonly backing: string
  readonly stateDirectory: string
  /** Its clones are idmapped so. */
  readonly ids: IdMaps | undefined
  /** Who gets its clones may take `nodev` off them. */
  readonly hideDevices: boolean
}

/** Each is a connection with its threads. */
const MAX_CONTAINERS = 256
/** Beyond the numbers of the tenant's own grafts. */
const FIRST = 2 ** 32

interface Connection {
  /** By way of a process that lives, as far as is known. */
  consumer: Consumer
  readonly ids: IdMaps | undefined
  readonly server: FileServer
  /** What it serves: an empty directory but for the points of its grafts. */
  readonly backing: string
  readonly injected: Set<Injected>
  readonly marks: MountMarks
  ended: boolean
  unwatch: () => void
  close(): Promise<void>
}

interface Injected {
  readonly id: number
  readonly connection: Connection
  readonly graft: number
  readonly name: string
  readonly target: string
  readonly onChange: (change: InsideChange) => void
  /** As the helper said. */
  readonly mount: string
}

export class ContainerMounts {
  readonly #options: ContainerMountsOptions
  /** By mount namespace; also those that are being made. */
  readonly #connections = new Map<string, Promise<Connection>>()
  readonly #injected = new Map<number, Injected>()
  #last = FIRST
  #closed = false

  constructor(options: ContainerMountsOptions) {
    this.#options = options
  }

  /** Removes what containers that ended meanwhile have left. */
  async sweep(): Promise<void> {
    const { directory } = this.#options
    for (const name of await readdir(directory).catch(() => []))
      if (!(await isThere(name))) await rm(path.join(directory, name), { recursive: true })
  }

  /**
   * Resolves with a number once a walk of the target in there ends in the grant. VfsError as of a graft;
   * and ESRCH (the container ended), EADDRNOTAVAIL (the target cannot be: the message says why).
   */
  async inject(
    { consumer, target }: ContainerPlace,
    { backing, subpath }: GraftSource,
    options: TenantGraftOptions,
    onChange: (change: InsideChange) => void,
  ): Promise<number> {
    const connection = await this.#connect(consumer)
    const { server, injected, ids } = connection
    const id = ++this.#last
    const name = `g${id - FIRST}`
    const graft = await server.graftAt(name, backing, subpath, options)
    try {
      await server.shown(graft)
      const root = server.detached?.root ?? -1
      const { readOnly } = options
      const tree = { root, name, readOnly, ids }
      const mount = await byWayOf(connection, (living) => attach(living, target, tree))
      if (connection.ended) throw new VfsError('ESRCH', 'the container ended meanwhile')
      const left = connection.marks.takeLeft(target)
      if (left !== undefined) await this.#takeOut(connection, target, left)
      connection.marks.note(target, mount)
      const entry = { id, connection, graft, name, target, onChange, mount }
      injected.add(entry)
      this.#injected.set(id, entry)
      return id
    } catch (error) {
      await this.#ungraft(connection, graft, name)
      throw error
    }
  }

  /** Takes away the dead mount of an earlier daemon, if it is there. */
  async clear({ consumer, target }: ContainerPlace): Promise<void> {
    try {
      const living = await livingIn(consumer)
      if (living !== undefined) await detach(living, target, undefined)
    } catch (error) {
      this.#options.log.debug({ err: error, target }, 'nothing to take out of a container')
    }
  }

  /** Undefined: it is none of these. Denied first, so that nothing waits for the container. */
  revoke(id: number): Promise<void> | undefined {
    const entry = this.#injected.get(id)
    return entry === undefined ? undefined : this.#revoke(entry)
  }

  has(id: number): boolean {
    return this.#injected.has(id)
  }

  grafts(): TenantGraft[] {
    return [...this.#injected.values()].map(({ id, connection: { server }, graft, name }) => ({
      graft: id,
      at: name,
      deviceMinor: server.detached?.deviceMinor ?? 0,
      openHandles: server.graftsWithin(graft)[0]?.openHandles ?? 0,
    }))
  }

  /** Undefined: it is none of these. */
  within(id: number): readonly GraftStatistics[] | undefined {
    const entry = this.#injected.get(id)
    return entry?.connection.server.graftsWithin(entry.graft)
  }

  usage(): TenantUsage[] {
    return [...this.#injected.values()].flatMap(({ id, connection: { server }, graft }) => {
      const usedBytes = server.graftsWithin(graft)[0]?.usedBytes
      return usedBytes === undefined ? [] : [{ graft: id, usedBytes }]
    })
  }

  latencies(): TenantLatencies[] {
    return [...this.#byConnection()].flatMap(([{ server }, entries]) => {
      const counts = new Map(server.latencies().map((each) => [each.graft, each.counts]))
      return entries.flatMap(({ id, graft }) => {
        const counted = counts.get(graft)
        return counted === undefined ? [] : [{ graft: id, counts: counted }]
      })
    })
  }

  /** As of a tenant's mount; undefined: it is none of these. */
  holdWrites(id: number, longestMs: number): Promise<boolean> | undefined {
    const entry = this.#injected.get(id)
    return entry?.connection.server.holdWrites(entry.graft, longestMs)
  }

  /** False: it is none of these. */
  letWrite(id: number): boolean {
    const entry = this.#injected.get(id)
    entry?.connection.server.letWrite(entry.graft)
    return entry !== undefined
  }

  /** What is not seen at its target any more, and why. */
  async drifted(): Promise<ReadonlyMap<number, string>> {
    const found = new Map<number, string>()
    for (const [{ consumer, server }, entries] of this.#byConnection()) {
      const minor = server.detached?.deviceMinor
      const mounts = await mountsOf(consumer.pid).catch(() => undefined)
      // Whether it still is the process that was meant.
      if (mounts === undefined || look(consumer) === undefined) continue
      for (const { id, name, target } of entries) {
        const isIt = (each: { deviceMinor: number | undefined; root: string } | undefined) =>
          each?.deviceMinor === minor && each?.root === `/${name}`
        if (isIt(mountAtEnd(mounts, target))) continue
        const there = mounts.filter(isIt)
        if (there.length === 0) found.set(id, 'it was unmounted in there')
        else if (there.some(({ mountPoint }) => mountPoint === target))
          found.set(id, 'something covers it in there')
        else found.set(id, 'it was moved in there')
      }
    }
    return found
  }

  #byConnection(): Map<Connection, Injected[]> {
    return Map.groupBy(this.#injected.values(), ({ connection }) => connection)
  }

  /** What is in containers answers ENOTCONN from then on, and is replaced by the next daemon. */
  async close(): Promise<void> {
    this.#closed = true
    const all = await Promise.allSettled(this.#connections.values())
    this.#injected.clear()
    await Promise.all(
      all.flatMap((each) => (each.status === 'fulfilled' ? [each.value.close()] : [])),
    )
    this.#connections.clear()
  }

  #connect(consumer: Consumer): Promise<Connection> {
    if (this.#closed) throw new VfsError('ENOTCONN', 'the tenant is being stopped')
    const key = consumer.mountNamespace
    const known = this.#connections.get(key)
    if (known !== undefined) return known
    if (this.#connections.size >= MAX_CONTAINERS)
      throw new VfsError('ENOSPC', `volumes are in ${MAX_CONTAINERS} containers already`)
    const made = orUndo((undo) => this.#open(consumer, undo))
    this.#connections.set(key, made)
    made.catch(() => this.#connections.delete(key))
    return made
  }

  async #open(named: Consumer, undo: AsyncDisposableStack): Promise<Connection> {
    prepare()
    const consumer = await livingIn(named)
    const identity = consumer && look(consumer)
    if (consumer === undefined || identity === undefined)
      throw new VfsError('ESRCH', 'the container has ended')
    const { ownRoot } = identity
    const ids = ownRoot ? idMapsFor(identity, this.#options.ids) : undefined
    if (typeof ids === 'string') throw new VfsError('EADDRNOTAVAIL', ids)
    const folder = path.join(this.#options.directory, keyOf(consumer))
    const backing = path.join(folder, 'root')
    const stateDirectory = path.join(folder, 'compute')
    const marks = new MountMarks(path.join(folder, 'mounts'), this.#options.log)
    await makeDirectories(this.#options.directory, 0o700)
    for (const each of [folder, stateDirectory, backing])
      await mkdir(each, { mode: each === backing ? 0o755 : 0o700 }).catch(ignoreExisting)
    await marks.open()
    undo.defer(() => marks.close())
    const server = await this.#options.serve(
      { backing, stateDirectory, ids, hideDevices: ownRoot },
      (reason) => this.#lost(connection, reason),
      undo,
    )
    const connection: Connection = {
      consumer,
      ids,
      server,
      backing,
      injected: new Set(),
      marks,
      ended: false,
      unwatch: () => undefined,
      close: async () => {
        await undo.disposeAsync()
        if (connection.ended) await rm(folder, { recursive: true, force: true })
      },
    }
    undo.defer(() => connection.unwatch())
    this.#watch(connection)
    return connection
  }

  #watch(connection: Connection): void {
    connection.unwatch = watch(connection.consumer, () => {
      this.#follow(connection).catch((error: unknown) => {
        this.#options.log.error({ err: error }, 'a container could not be watched')
      })
    })
  }

  /** A process of it ended: it goes on by way of another, as long as there is one. */
  async #follow(connection: Connection): Promise<void> {
    const { mountNamespace } = connection.consumer
    const next = await livingIn(connection.consumer)
    // Closed or lost meanwhile.
    const standing = await this.#connections.get(mountNamespace)?.catch(() => undefined)
    if (standing !== connection) return
    if (next === undefined) return this.#ended(connection)
    connection.consumer = next
    this.#watch(connection)
  }

  #ended(connection: Connection): void {
    connection.ended = true
    this.#connections.delete(connection.consumer.mountNamespace)
    for (const { onChange } of connection.injected)
      onChange({ kind: 'ended', why: 'its container ended' })
    if (connection.injected.size === 0) this.#end(connection)
  }

  /** Somebody with the right to do so aborted it. */
  #lost(connection: Connection, reason: string): void {
    if (this.#closed || connection.ended) return
    this.#connections.delete(connection.consumer.mountNamespace)
    const lost = [...connection.injected]
    connection.injected.clear()
    for (const { id } of lost) this.#injected.delete(id)
    this.#end(connection)
    for (const { onChange } of lost) onChange({ kind: 'lost', why: reason })
  }

  #end(connection: Connection): void {
    connection.close().catch((error: unknown) => {
      this.#options.log.error({ err: error }, 'a connection of a container')
    })
  }

  async #revoke(entry: Injected): Promise<void> {
    const { id, connection, graft, name, target, mount } = entry
    await this.#ungraft(connection, graft, name)
    this.#injected.delete(id)
    connection.injected.delete(entry)
    if (connection.ended) {
      if (connection.injected.size === 0) this.#end(connection)
      return
    }
    await this.#takeOut(connection, target, mount)
    connection.marks.strike(target)
  }

  async #takeOut(connection: Connection, target: string, mount: string): Promise<void> {
    const leaving = byWayOf(connection, (living) => detach(living, target, mount))
    await leaving.catch((error: unknown) => {
      if (errnoOf(error) === 'ESRCH') return
      // Its files are out of reach already.
      this.#options.log.warn({ err: error, target }, 'a mount stays in a container, without files')
    })
  }

  async #ungraft({ server, backing }: Connection, graft: number, name: string): Promise<void> {
    await server.revoke(graft)
    await rmdir(path.join(backing, name)).catch(() => undefined)
  }
}

/** A process that ends just now is no reason as long as there is another. */
async function byWayOf<T>(
  { consumer }: Connection,
  enter: (living: Consumer) => Promise<T>,
): Promise<T> {
  try {
    return await enter(consumer)
  } catch (error) {
    const other = errnoOf(error) === 'ESRCH' ? await livingIn(consumer) : undefined
    if (other === undefined) throw error
    return await enter(other)
  }
}

function ignoreExisting(error: unknown): void {
  if (errnoOf(error) !== 'EEXIST') throw error
}
