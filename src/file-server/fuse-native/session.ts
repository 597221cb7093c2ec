/** One mount over fuse-native: its open files, its threads' requests, its end. */
import type { Negotiated, Notice, Statistics } from '../types.ts'
import { handlersFor, type Counts } from './channel.ts'
import { mount, mountedAt } from './mounting.ts'
import { OpenFiles } from './open-files.ts'
import { OrdinaryFiles } from './ordinary.ts'
import { loadBinding } from './package.ts'
import { Tree } from './tree.ts'
import type { VirtualTree } from './virtual-tree.ts'
import { Waits } from './waits.ts'

/** libfuse does not say that somebody else unmounted; the mount table does. */
const LOOK_MS = 1_000

export const NEGOTIATED: Negotiated = {
  server: 'fuse-native',
  protocol: '7.19',
  passthrough: false,
  passthroughReason: 'fuse-native speaks FUSE 2.9, which has none',
  maxWriteBytes: 128 * 1024,
  threads: 1,
  flags: ['ASYNC_READ', 'ATOMIC_O_TRUNC', 'BIG_WRITES'],
}

export interface SessionOptions {
  readonly backing: string
  readonly mountPoint: string
  readonly listReserved: boolean
  readonly onNotice: (notice: Notice) => void
}

export class Session {
  readonly ordinary: OrdinaryFiles
  readonly waits = new Waits()
  readonly #options: SessionOptions
  readonly #files = new OpenFiles()
  readonly #counts: Counts = {}
  #unmount: () => Promise<void> = async () => {}
  #watch: NodeJS.Timeout | undefined
  #ended: Promise<void> | undefined

  constructor(options: SessionOptions) {
    this.#options = options
    this.ordinary = new OrdinaryFiles(options.backing)
  }

  /** Resolves when the mount answers; VfsError when that fails, and then nothing is mounted. */
  async start(virtual: VirtualTree): Promise<void> {
    const { mountPoint, listReserved } = this.#options
    const tree = new Tree({ ordinary: this.ordinary, virtual, files: this.#files, listReserved })
    const binding = loadBinding()
    this.#unmount = await mount({
      binding,
      mountPoint,
      ...handlersFor(binding, tree, this.#counts),
    })
    const device = await mountedAt(mountPoint)
    this.#watch = setInterval(() => void this.#look(device), LOOK_MS)
  }

  statistics(virtualRequests: number): Statistics {
    return {
      operations: { ...this.#counts },
      virtualRequests,
      waiting: this.waits.count,
      nodes: this.ordinary.keptDirectories,
      backingIds: 0,
      noticeMs: 0,
      openHandles: this.#files.size,
      grafts: [],
    }
  }

  unmount(): Promise<void> {
    this.#ended ??= this.#end()
    return this.#ended
  }

  async #look(device: string | undefined): Promise<void> {
    const there = await mountedAt(this.#options.mountPoint).catch(() => device)
    if (there === device || this.#ended !== undefined) return
    clearInterval(this.#watch)
    this.#options.onNotice({ kind: 'ended', reason: 'unmounted by somebody else' })
  }

  /** What libfuse still asks after this is answered from nothing, and the process ends soon. */
  async #end(): Promise<void> {
    clearInterval(this.#watch)
    this.waits.abortAll()
    await this.#unmount()
    this.#files.releaseAll()
    this.ordinary.close()
  }
}
