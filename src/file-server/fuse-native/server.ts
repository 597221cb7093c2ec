/** The `FileServer` over npm fuse-native. Its limits are told in docs/files.md. */
import { VfsError } from '../../errors.ts'
import type {
  GraftStatistics,
  DirectoryKey,
  FileServer,
  MountOptions,
  Negotiated,
  ProgramEntry,
  Publication,
  Statistics,
  Volume,
} from '../types.ts'
import { openVolume } from '../volume.ts'
import { Programs } from './programs.ts'
import { NEGOTIATED, Session } from './session.ts'
import { VirtualFiles } from './virtual.ts'

/** Mounts; VfsError when that fails, and then nothing is mounted. */
export async function mountFuseNative(options: MountOptions): Promise<FileServer> {
  if (options.allowOther)
    throw new VfsError('ENOTSUP', 'fuse-native cannot tell users apart, so it serves one')
  const { backing, mountPoint, reserved, handler, onNotice } = options
  if (mountPoint === undefined)
    throw new VfsError('ENOTSUP', 'fuse-native serves a mount point: nothing for containers')
  const volume = await openVolume(backing)
  try {
    const session = new Session({ ...options, mountPoint })
    const programs = new Programs()
    const virtual = new VirtualFiles({
      volume,
      programs,
      ordinary: session.ordinary,
      reserved,
      handler,
      waits: session.waits,
      onRealEntry: (path) => onNotice({ kind: 'reserved-name-taken', path }),
    })
    await session.start(virtual)
    return new FuseNativeServer(volume, session, programs, virtual)
  } catch (error) {
    volume.close()
    throw error
  }
}

class FuseNativeServer implements FileServer {
  readonly volume: Volume
  readonly negotiated: Negotiated = NEGOTIATED
  readonly detached = undefined
  readonly #session: Session
  readonly #programs: Programs
  readonly #virtual: VirtualFiles

  constructor(volume: Volume, session: Session, programs: Programs, virtual: VirtualFiles) {
    this.volume = volume
    this.#session = session
    this.#programs = programs
    this.#virtual = virtual
  }

  setProgram(directory: DirectoryKey, entry: ProgramEntry | undefined): void {
    this.#programs.set(directory, entry)
  }

  publish(directory: DirectoryKey, publication: Publication): void {
    this.#programs.publish(directory, publication)
  }

  /** FUSE 2.9 here has no poll: readers wait in read(2). */
  wake(): void {}

  /** Names and attributes are not cached at all, and pages until the next open. */
  async invalidate(): Promise<void> {}

  graft(): Promise<number> {
    return Promise.reject(new VfsError('ENOTSUP', 'fuse-native serves one tree: no grants'))
  }

  graftAt(): Promise<number> {
    return this.graft()
  }

  shown(): Promise<void> {
    return this.graft().then(() => {})
  }

  graftsWithin(): readonly GraftStatistics[] {
    return []
  }

  usage(): readonly [] {
    return []
  }

  graftKey(): Promise<DirectoryKey> {
    return Promise.reject(new VfsError('ENOTSUP', 'fuse-native serves one tree: no grants'))
  }

  revoke(): Promise<void> {
    return this.graft().then(() => {})
  }

  /** There are no grafts. */
  watchTrees(): void {}

  latencies(): readonly [] {
    return []
  }

  holdWrites(): Promise<boolean> {
    return Promise.resolve(false)
  }

  letWrite(): void {}

  noticeMs(): number {
    return 0
  }

  statistics(): Statistics {
    return this.#session.statistics(this.#virtual.requests)
  }

  async unmount(): Promise<void> {
    await this.#session.unmount()
    this.volume.close()
  }
}
