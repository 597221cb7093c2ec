/** The `FileServer` over the addon. */
import { addon } from '../addon/index.ts'
import type { NativeFileServer } from '../addon/file-server.ts'
import type { NativePublishedSet, NativeVirtualFiles } from '../addon/virtual.ts'
import { VfsError } from '../errors.ts'
import { Forest } from './forest.ts'
import { Grafts } from './grafts.ts'
import { toVfsError } from './native-error.ts'
import { detachedOf, negotiatedOf, startNative } from './native-mount.ts'
import type {
  DetachedMount,
  DirectoryKey,
  FileServer,
  GraftLatencies,
  GraftOptions,
  GraftStatistics,
  GraftUsage,
  MountOptions,
  Negotiated,
  ProgramEntry,
  Publication,
  PublishedSet,
  Statistics,
  TreeWatcher,
  Volume,
} from './types.ts'
export { cloneMounted, type MountClone, unmountDetached } from './native-mount.ts'
import { VirtualRequests } from './virtual-requests.ts'
import { nativeInputs, nativeVolume, openVolume } from './volume.ts'

/** Mounts; VfsError when that fails, and then nothing is mounted. */
export async function mountNative(options: MountOptions): Promise<FileServer> {
  const volume = await openVolume(options.backing)
  const backing = nativeVolume(volume)
  if (backing === undefined) throw new VfsError('EINVAL', 'the volume is not a native one')
  const requests = new VirtualRequests(options.handler, options.onNotice, (id, errno, reply) =>
    files.reply(id, errno, reply),
  )
  const files = new addon.NativeVirtualFiles(backing, options.reserved, (id, request) =>
    requests.dispatch(id, request),
  )
  const {
    backing: path,
    mountPoint,
    exclusive,
    allowOther,
    listReserved,
    sharedBacking,
    onNotice,
  } = options
  try {
    const native = await startNative(
      {
        backing: path,
        mountPoint,
        exclusive,
        allowOther,
        listReserved,
        sharedBacking,
        passthrough: true,
        ids: options.ids,
        hideDevices: options.hideDevices,
        threads: options.threads,
      },
      (reason) => onNotice({ kind: 'ended', reason }),
      files,
    )
    return new NativeServer(volume, native, files)
  } catch (error) {
    volume.close()
    throw error
  }
}

class NativeServer implements FileServer {
  readonly volume: Volume
  readonly negotiated: Negotiated
  readonly detached: DetachedMount | undefined
  readonly #native: NativeFileServer
  readonly #files: NativeVirtualFiles
  readonly #grafts: Grafts
  #ended: Promise<void> | undefined

  constructor(volume: Volume, native: NativeFileServer, files: NativeVirtualFiles) {
    this.negotiated = negotiatedOf(native)
    this.detached = detachedOf(native)
    this.#native = native
    this.#files = files
    this.#grafts = new Grafts(volume, native)
    this.volume = new Forest(volume, this.#grafts)
  }

  setProgram(directory: DirectoryKey, entry: ProgramEntry | undefined): void {
    this.#files.setProgram(directory, entry)
  }

  publish(directory: DirectoryKey, { current, last }: Publication): void {
    this.#files.publish(directory, lower(current), lower(last))
  }

  wake(handle: number): void {
    this.#files.wake(handle)
  }

  async invalidate(path: string): Promise<void> {
    try {
      await this.#files.invalidate(path)
    } catch (error) {
      throw toVfsError(error)
    }
  }

  graft(
    directory: DirectoryKey,
    name: string,
    backing: string,
    options: GraftOptions,
  ): Promise<number> {
    return this.#grafts.graft(directory, name, backing, options)
  }

  graftAt(at: string, backing: string, subpath: string, options: GraftOptions): Promise<number> {
    return this.#grafts.graftAt(at, backing, subpath, options)
  }

  graftKey(graft: number, path: string): Promise<DirectoryKey> {
    return this.#grafts.keyOf(graft, path)
  }

  graftsWithin(graft: number): readonly GraftStatistics[] {
    return this.#grafts.within(graft)
  }

  revoke(graft: number): Promise<void> {
    return this.#grafts.revoke(graft)
  }

  shown(graft: number): Promise<void> {
    return this.#native.shown(graft)
  }

  usage(): readonly GraftUsage[] {
    return this.#native.usage()
  }

  latencies(): readonly GraftLatencies[] {
    return this.#native.latencies()
  }

  holdWrites(graft: number, longestMs: number): Promise<boolean> {
    return this.#native.holdWrites(graft, longestMs)
  }

  letWrite(graft: number): void {
    this.#native.letWrite(graft)
  }

  watchTrees(watcher: TreeWatcher): void {
    this.#grafts.watch(watcher)
  }

  noticeMs(): number {
    return this.#native.noticeMs()
  }

  statistics(): Statistics {
    const ordinary = this.#native.statistics()
    const virtual = this.#files.statistics()
    return {
      operations: ordinary.operations,
      virtualRequests: virtual.requests,
      waiting: virtual.waiting,
      nodes: ordinary.nodes + virtual.nodes,
      backingIds: ordinary.backingIds,
      noticeMs: this.noticeMs(),
      openHandles: ordinary.openHandles + virtual.openHandles,
      grafts: ordinary.grafts,
    }
  }

  unmount(): Promise<void> {
    this.#ended ??= this.#native.stop().then(async () => {
      await this.#grafts.close()
      this.volume.close()
    })
    return this.#ended
  }
}

/** An input session of another implementation cannot be validated natively. */
function lower(set: PublishedSet | undefined): NativePublishedSet | undefined {
  return set === undefined ? undefined : { ...set, inputs: nativeInputs(set.inputs) }
}
