/** Virtual files by their paths; what is in them is the handler's. */
import { constants, openSync } from 'node:fs'
import { VfsError } from '../../errors.ts'
import type {
  Caller,
  DirectoryKey,
  PublishedResult,
  PublishedSet,
  ReservedNames,
  VirtualHandler,
  VirtualNode,
  Volume,
} from '../types.ts'
import { shortIno, type Attributes } from './attributes.ts'
import type { Listed } from './channel.ts'
import { Conversation } from './conversation.ts'
import type { OpenFile } from './open-files.ts'
import type { OrdinaryFiles } from './ordinary.ts'
import { LAST, LISTED_CONTROLS, XATTR_PREFIX, placeOf, type VirtualPlace } from './places.ts'
import { findResult, type Program, type Programs } from './programs.ts'
import { HandledFile, ResultFile } from './virtual-open.ts'
import type { Waits } from './waits.ts'

const { O_ACCMODE, O_APPEND, O_CREAT, O_NOFOLLOW, O_RDONLY, O_RDWR } = {
  ...constants,
  O_ACCMODE: 3,
}
const { S_IFDIR, S_IFREG } = constants

/** Sets that are gone by the time that they are asked for are made again so often. */
const MAX_RESOLVES = 3

/** As much of an answer as is asked for at a time. */
const ANSWER_PART_BYTES = 1024 * 1024
const NOTICED_PATHS = 1_024

export interface VirtualOptions {
  readonly volume: Volume
  readonly programs: Programs
  readonly ordinary: OrdinaryFiles
  readonly reserved: ReservedNames
  readonly handler: VirtualHandler
  readonly waits: Waits
  readonly onRealEntry: (path: string) => void
}

export class VirtualFiles {
  readonly #options: VirtualOptions
  readonly #conversations = new Map<DirectoryKey, Conversation>()
  /** Directories in which somebody asks, or is about to. */
  readonly #talking = new Set<DirectoryKey>()
  /** Emptied by truncate(2), and so without a program now; libfuse asks for the attributes once more. */
  readonly #emptied = new Set<DirectoryKey>()
  readonly #noticed = new Set<string>()
  /** All that happens here happens on behalf of the one user who may use the mount. */
  readonly #caller: Caller = {
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    groups: process.getgroups?.() ?? [],
    pid: 0,
  }
  requests = 0

  constructor(options: VirtualOptions) {
    this.#options = options
  }

  placeOf(path: string): VirtualPlace | undefined {
    return placeOf(path, this.#options.reserved, (each) => this.#isReal(each))
  }

  async getattr(place: VirtualPlace): Promise<Attributes> {
    const key = await this.#keyOf(place)
    const { programs } = this.#options
    switch (place.kind) {
      case 'query': {
        const sizeBytes = this.#conversations.get(key)?.sizeBytes ?? 0
        return this.#describe(place, { sizeBytes, mtimeMs: Date.now() })
      }
      case 'compute':
        if (programs.get(key) === undefined) {
          if (!this.#emptied.delete(key)) throw nothingThere()
          return this.#describe(place, { mtimeMs: Date.now() })
        }
        return this.#describeNode(place, { kind: 'compute', directory: key })
      case 'control':
        return this.#describeNode(place, { kind: 'control', directory: key, name: place.name })
      case 'results':
        return this.#describe(place, { program: programs.running(key) })
      case 'last': {
        const program = programs.running(key)
        if (program.publication.last === undefined) throw nothingThere()
        return this.#describe(place, { program })
      }
      case 'result':
      case 'last-result':
        return this.#describeResult(place, ...(await this.#result(place, key)))
      case 'nothing':
        throw nothingThere()
    }
  }

  async readdir(place: VirtualPlace): Promise<Listed[]> {
    if (place.kind !== 'results' && place.kind !== 'last') throw new VfsError('ENOTDIR', 'a file')
    const key = await this.#keyOf(place)
    const own = await this.getattr(place)
    const kept = place.kind === 'last'
    const { last } = this.#options.programs.running(key).publication
    const set = kept ? last : await this.#fresh(key)
    if (set === undefined) throw nothingThere()
    const entry = (name: string, mode = S_IFREG): Listed => {
      const ino = inoOf(`${place.directory}/${place.kind}/${name}`)
      return { name, attributes: { ...own, mode, ino } }
    }
    const listed = [entry('.', S_IFDIR), entry('..', S_IFDIR)]
    listed.push(...set.results.map(({ name }) => entry(name)))
    if (kept) return listed
    listed.push(...LISTED_CONTROLS.map((name) => entry(name)))
    if (last !== undefined) listed.push(entry(LAST, S_IFDIR))
    return listed
  }

  async open(place: VirtualPlace, flags: number): Promise<OpenFile> {
    const key = await this.#keyOf(place)
    switch (place.kind) {
      case 'compute':
        return this.#openNode(place, { kind: 'compute', directory: key }, flags, false)
      case 'control': {
        const node = { kind: 'control', directory: key, name: place.name } as const
        return this.#openNode(place, node, flags, false)
      }
      case 'query':
        return this.#converse(place, key, flags)
      case 'result':
      case 'last-result': {
        if ((flags & O_ACCMODE) !== O_RDONLY) throw new VfsError('EROFS', 'results are only read')
        const [set, result] = await this.#result(place, key)
        return this.#openResult(place, set, result)
      }
      default:
        throw new VfsError('EISDIR', 'a directory')
    }
  }

  /** The name was not there a moment ago. */
  async create(place: VirtualPlace): Promise<OpenFile> {
    const key = await this.#keyOf(place)
    if (place.kind !== 'compute') throw new VfsError('EPERM', 'only a program can be made')
    // Whether the caller minds is not told us; the kernel looks again.
    if (this.#options.programs.get(key) !== undefined)
      throw new VfsError('ESTALE', 'a program was attached meanwhile')
    const flags = O_RDWR | O_CREAT
    return this.#openNode(place, { kind: 'compute', directory: key }, flags, true)
  }

  /** Anything but a program. */
  async refuseToMake(place: VirtualPlace): Promise<never> {
    const there = await this.#exists(place)
    throw new VfsError(there ? 'EEXIST' : 'EPERM', 'the name is reserved')
  }

  async unlink(place: VirtualPlace): Promise<void> {
    if (!(await this.#exists(place))) throw nothingThere()
    if (place.kind !== 'compute') throw new VfsError('EPERM', 'it cannot be removed')
    await this.#ask({ op: 'unlink', directory: await this.#keyOf(place), caller: this.#caller })
  }

  async rmdir(place: VirtualPlace): Promise<never> {
    if (!(await this.#exists(place))) throw nothingThere()
    const directory = place.kind === 'results' || place.kind === 'last'
    throw new VfsError(directory ? 'EPERM' : 'ENOTDIR', 'it cannot be removed')
  }

  /** EXDEV makes mv copy the program and remove this one. */
  async renameFrom(place: VirtualPlace): Promise<never> {
    if (!(await this.#exists(place))) throw nothingThere()
    throw new VfsError(place.kind === 'compute' ? 'EXDEV' : 'EPERM', 'it cannot be renamed')
  }

  /** `source` is at `from`, an ordinary path. On success it is the program, and gone from there. */
  async renameOnto(
    place: VirtualPlace,
    from: string,
    source: { readonly fd: number; readonly sizeBytes: number },
  ): Promise<void> {
    if (place.kind !== 'compute') throw new VfsError('EPERM', 'the name is reserved')
    const directory = await this.#keyOf(place)
    await this.#ask({ op: 'rename-onto', directory, ...source, caller: this.#caller })
    this.#options.ordinary.unlink(from)
  }

  /** Mode, owner and times are the directory's: accepted and ignored. */
  async setattr(place: VirtualPlace): Promise<void> {
    if (!(await this.#exists(place))) throw nothingThere()
    if (place.kind === 'compute' || place.kind === 'control' || place.kind === 'query') return
    throw new VfsError('EPERM', 'results are only read')
  }

  async truncate(place: VirtualPlace, sizeBytes: number): Promise<void> {
    await this.setattr(place)
    if (place.kind !== 'compute') return
    const node = { kind: 'compute', directory: await this.#keyOf(place) } as const
    await this.#ask({ op: 'truncate', node, handle: undefined, sizeBytes, caller: this.#caller })
    if (this.#options.programs.get(node.directory) === undefined) this.#emptied.add(node.directory)
  }

  async xattrs(place: VirtualPlace): Promise<ReadonlyMap<string, string>> {
    if (place.kind !== 'result' && place.kind !== 'last-result') return new Map()
    const [set, { etag }] = await this.#result(place, await this.#keyOf(place))
    return new Map(
      Object.entries({ etag, ...set.xattrs }).map(([name, value]) => [XATTR_PREFIX + name, value]),
    )
  }

  /** Names that `--list-reserved` shows in an ordinary directory. */
  async reservedIn(path: string): Promise<Listed[]> {
    const { reserved, programs, volume } = this.#options
    const program = programs.get(await volume.keyOf(path.slice(1)))
    if (program === undefined) return []
    const names = program.entry.writing ? [reserved.compute] : [reserved.compute, reserved.results]
    const listed: Listed[] = []
    for (const name of names) {
      const place = this.placeOf(path === '/' ? `/${name}` : `${path}/${name}`)
      if (place !== undefined) listed.push({ name, attributes: await this.getattr(place) })
    }
    return listed
  }

  /** Before a directory is removed; returns what is to be called when that succeeded. */
  async removing(path: string): Promise<() => void> {
    const { programs, volume, handler } = this.#options
    const directory = await volume.keyOf(path.slice(1)).catch(() => undefined)
    if (directory === undefined || programs.get(directory) === undefined) return () => {}
    return () => {
      programs.set(directory, undefined)
      handler({ op: 'forget-directory', directory }, new AbortController().signal).catch(() => {})
    }
  }

  // ---- inside

  #keyOf(place: VirtualPlace): Promise<DirectoryKey> {
    return this.#options.volume.keyOf(place.directory)
  }

  async #exists(place: VirtualPlace): Promise<boolean> {
    if (place.kind === 'query') return true
    const program = this.#options.programs.get(await this.#keyOf(place))
    if (place.kind === 'nothing' || program === undefined) return false
    return place.kind === 'compute' || !program.entry.writing
  }

  /** Says so once, for as long as they are not too many. */
  #isReal(path: string): boolean {
    if (!this.#options.ordinary.exists(path)) return false
    if (this.#noticed.size < NOTICED_PATHS && !this.#noticed.has(path)) {
      this.#noticed.add(path)
      this.#options.onRealEntry(path.slice(1))
    }
    return true
  }

  #ask(request: Parameters<VirtualHandler>[0]): ReturnType<VirtualHandler> {
    this.requests += 1
    const { handler, waits } = this.#options
    return waits.bounded((signal) => handler(request, signal))
  }

  /** A set that holds, now; made if need be. */
  async #fresh(key: DirectoryKey): Promise<PublishedSet> {
    const { programs } = this.#options
    const { current } = programs.running(key).publication
    if (current !== undefined && (await holds(current))) return current
    for (let tries = 0; tries < MAX_RESOLVES; tries += 1) {
      await this.#ask({ op: 'resolve', directory: key, caller: this.#caller })
      const set = programs.running(key).publication.current
      if (set !== undefined) return set
    }
    throw new VfsError('EIO', 'the results are withdrawn again and again')
  }

  async #result(
    place: VirtualPlace & { readonly name: string },
    key: DirectoryKey,
  ): Promise<[PublishedSet, PublishedResult]> {
    const { last } = this.#options.programs.running(key).publication
    const set = place.kind === 'last-result' ? last : await this.#fresh(key)
    if (set === undefined) throw nothingThere()
    return [set, findResult(set, place.name)]
  }

  #openResult(place: VirtualPlace, set: PublishedSet, result: PublishedResult): OpenFile {
    try {
      const fd = openSync(`${set.folder}/${result.name}`, O_RDONLY | O_NOFOLLOW)
      return new ResultFile(fd, this.#describeResult(place, set, result))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new VfsError('ESTALE', 'a later version took its place', { cause: error })
    }
  }

  async #openNode(
    place: VirtualPlace,
    node: VirtualNode,
    flags: number,
    created: boolean,
  ): Promise<OpenFile> {
    const { handler, waits } = this.#options
    const reply = await this.#ask({ op: 'open', node, flags, created, caller: this.#caller })
    const appending = (flags & O_APPEND) !== 0
    return new HandledFile(handler, waits, reply.handle ?? 0, appending, () => this.getattr(place))
  }

  async #converse(place: VirtualPlace, key: DirectoryKey, flags: number): Promise<OpenFile> {
    if (this.#talking.has(key))
      throw new VfsError('EBUSY', 'somebody asks here already, and fuse-native takes one at a time')
    this.#talking.add(key)
    const node = { kind: 'query', directory: key } as const
    const caller = this.#caller
    const opening = this.#ask({ op: 'open', node, flags, created: false, caller })
    opening.catch(() => this.#talking.delete(key))
    const { handle = 0 } = await opening
    const sizeBytes = ANSWER_PART_BYTES
    const read = { op: 'read', handle, offset: 0, sizeBytes, nonBlocking: false } as const
    const conversation = new Conversation(
      {
        write: async (data) => {
          await this.#ask({ op: 'write', handle, offset: 0, data, append: false })
        },
        read: async () => (await this.#ask(read)).data ?? new Uint8Array(0),
        release: () => {
          const { signal } = new AbortController()
          this.#options.handler({ op: 'release', handle }, signal).catch(() => {})
        },
      },
      (size) => this.#describe(place, { sizeBytes: size, mtimeMs: Date.now() }),
      () => {
        this.#conversations.delete(key)
        this.#talking.delete(key)
      },
    )
    this.#conversations.set(key, conversation)
    return conversation
  }

  async #describeNode(place: VirtualPlace, node: VirtualNode): Promise<Attributes> {
    if (node.kind === 'control') this.#options.programs.running(node.directory)
    const { attributes } = await this.#ask({ op: 'getattr', node })
    return this.#describe(place, {
      sizeBytes: attributes?.sizeBytes ?? 0,
      mtimeMs: Number((attributes?.mtimeNs ?? 0n) / 1_000_000n),
      program: this.#options.programs.get(node.directory),
    })
  }

  /** Owner and bits of `.compute` are the directory's; what tells of a run is its principal's, and
   * readable by others as far as the current set is. */
  #describe(
    place: VirtualPlace,
    { program, ...known }: { sizeBytes?: number; mtimeMs?: number; program?: Program | undefined },
  ): Attributes {
    const directory = this.#options.ordinary.getattr(
      place.directory === '' ? '/' : `/${place.directory}`,
    )
    const { current, last } = program?.publication ?? {}
    const newest = current ?? last
    const madeNs = newest?.mtimeNs ?? program?.entry.mtimeNs ?? 0n
    const { sizeBytes = 0, mtimeMs = Number(madeNs / 1_000_000n) } = known
    const ofDirectory = place.kind === 'compute' || place.kind === 'query'
    const owner = ofDirectory ? directory : (program?.entry.principal ?? directory)
    return virtualAttributes(place, {
      mode: modeOf(place, directory.mode & 0o777, current),
      uid: owner.uid,
      gid: owner.gid,
      sizeBytes,
      mtimeMs,
    })
  }

  #describeResult(
    place: VirtualPlace,
    { mode, uid, gid, mtimeNs }: PublishedSet,
    { sizeBytes }: PublishedResult,
  ): Attributes {
    const mtimeMs = Number(mtimeNs / 1_000_000n)
    return virtualAttributes(place, {
      mode: S_IFREG | (mode & 0o444),
      uid,
      gid,
      sizeBytes,
      mtimeMs,
    })
  }
}

function modeOf(place: VirtualPlace, bits: number, current: PublishedSet | undefined): number {
  switch (place.kind) {
    case 'query':
      return S_IFREG | 0o666
    case 'compute':
      return S_IFREG | (bits & 0o666)
    case 'results':
    case 'last':
      return S_IFDIR | 0o500 | (bits & 0o055)
    case 'control':
      if (place.name === '.control') return S_IFREG | 0o200 | (bits & 0o022)
      return S_IFREG | 0o400 | ((current?.mode ?? 0) & 0o044)
    default:
      return S_IFREG | 0o400
  }
}

function virtualAttributes(
  place: VirtualPlace,
  known: Pick<Attributes, 'mode' | 'uid' | 'gid' | 'sizeBytes' | 'mtimeMs'>,
): Attributes {
  const name = 'name' in place ? place.name : ''
  return {
    ...known,
    nlink: (known.mode & S_IFDIR) === 0 ? 1 : 2,
    ino: inoOf(`${place.directory}/${place.kind}/${name}`),
    rdev: 0,
    blksize: 4096,
    blocks: Math.ceil(known.sizeBytes / 512),
    atimeMs: known.mtimeMs,
    ctimeMs: known.mtimeMs,
  }
}

/** FNV-1a, in the upper sixteenth of what there is, where few real ones are. */
function inoOf(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return shortIno((0xf000_0000 | (hash & 0x0fff_ffff)) >>> 0)
}

async function holds(set: PublishedSet): Promise<boolean> {
  try {
    return (await set.inputs.validate('look')).holds
  } catch {
    return false // its session was closed: a later set has taken its place
  }
}

function nothingThere(): VfsError {
  return new VfsError('ENOENT', 'no such entry')
}
