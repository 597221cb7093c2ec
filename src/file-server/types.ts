/**
 * The face of the file server: everything above it (virtual files, compute, the daemon) speaks only
 * these types, so that another implementation can stand in its place.
 *
 * Ordinary files never come up here. What does: requests on virtual files, and what compute needs to
 * read a volume as a principal (`Volume`, `InputSession`).
 */

import type { VfsError } from '../errors.ts'

/** Names a directory of a mount by identity, never by path: which tree it is in (the volume, or a graft
 * as `GraftOptions.identity` says), and file handle or device, ino and birth time in there. Stable over
 * renames, restarts, and grafts that go and come back. Opaque; at most 500 bytes of [A-Za-z0-9:._#-]. */
export type DirectoryKey = string

/** On whose rights something is done. Groups are the supplementary ones. */
export interface Principal {
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
}

/** Who made a request: thread id in the daemon's pid namespace, 0 when it is not visible there. */
export interface Caller extends Principal {
  readonly pid: number
}

export type EntryKind = 'file' | 'directory' | 'symlink' | 'other'

/** What identifies the state of an input; all times in ns since the epoch. */
export interface InputIdentity {
  /** Relative to the program's directory, '' for that directory itself; no '..'. */
  readonly path: string
  /** `file`: content was read. `attributes`: only stat'ed. `directory`: listed. `missing`: looked for, not there. */
  readonly kind: 'file' | 'attributes' | 'directory' | 'missing'
  readonly dev: bigint
  readonly ino: bigint
  readonly birthNs: bigint
  readonly sizeBytes: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

export interface OpenedInput {
  /** A fresh read-only description of a regular file; owned by the receiver, who closes it. */
  readonly fd: number
  readonly sizeBytes: number
  readonly mtimeNs: bigint
}

export interface InputAttributes {
  readonly kind: EntryKind
  readonly sizeBytes: number
  readonly mtimeNs: bigint
}

export type Validation =
  | { readonly holds: true }
  /** `path` is the first input that is not what it was; `why` a short phrase for `.error`. */
  | { readonly holds: false; readonly path: string; readonly why: string }

/**
 * One run's view of its inputs: opens them with the principal's rights, at and below the program's
 * directory, never outside (no `..`, no absolute names, no links that leave, regular files only), and
 * records the identity of everything that was looked at.
 * Failures are VfsError: ENOENT, EACCES, ELOOP, EXDEV (leaves the directory), EINVAL (not a regular
 * file, NUL, '..'), EMFILE (over the bound on inputs), ESTALE (directory gone).
 */
export interface InputSession {
  open(path: string): Promise<OpenedInput>
  stat(path: string): Promise<InputAttributes>
  /** Names (byte-sorted, without `.`, `..` and virtual files) and kinds; ENOTDIR if it is none. */
  list(path: string): Promise<readonly { readonly name: string; readonly kind: EntryKind }[]>
  /**
   * `look`: do all identities hold, now? `end`: the same, but a file that only grew under appending
   * writers of this mount passes. Dirty mapped pages are synced before an identity is compared.
   */
  validate(when: 'look' | 'end'): Promise<Validation>
  /** Both at once: whether all hold for a look now, and, if so, `readableMode`. */
  conclude(gid: number): Promise<{ readonly holds: boolean; readonly readableMode: number }>
  identities(): readonly InputIdentity[]
  /** Permission bits (0o444 mask) that every input file, its directory, and the gid allow: how far
   * beyond the principal a result may be readable. Group bit only if each input has `gid` or is open to all. */
  readableMode(gid: number): Promise<number>
  close(): void
}

export interface DirectoryAttributes {
  readonly uid: number
  readonly gid: number
  readonly mode: number
  readonly mtimeNs: bigint
}

export interface DirectorySurvey extends DirectoryAttributes {
  /** As of `pathOf`. */
  readonly path?: string
  /** As of `access` with 'wx'. */
  readonly mayChange: boolean
}

/** A backing directory, read as a principal; of a mount, with the trees that are grafted into it. Needs
 * no mount. Keys of a tree that is not there, or not any more, are ESTALE. */
export interface Volume {
  readonly backing: string
  /** Whether the tree of this key is there. */
  knows(key: DirectoryKey): boolean
  /** ENOENT, ENOTDIR, EXDEV as VfsError. `path` is relative to the volume's root, '' is the root. With
   * a principal also EACCES, if it may not search what is on the way. */
  keyOf(path: string, principal?: Principal): Promise<DirectoryKey>
  /** Path relative to the volume's root where the directory is now; undefined if it is gone. */
  pathOf(key: DirectoryKey): Promise<string | undefined>
  stat(key: DirectoryKey): Promise<DirectoryAttributes>
  /** May `principal` do this in the directory itself (as access(2), with ACLs)? */
  access(
    key: DirectoryKey,
    principal: Principal,
    mode: 'r' | 'w' | 'x' | 'rx' | 'wx',
  ): Promise<boolean>
  /** What it takes to decide whether `principal` may attach a program there, in one look. */
  survey(key: DirectoryKey, principal: Principal): Promise<DirectorySurvey>
  /** EACCES if the principal may not list and search the directory. */
  inputs(key: DirectoryKey, principal: Principal): Promise<InputSession>
  /** An input session as it was before a restart, from persisted identities. */
  restoreInputs(
    key: DirectoryKey,
    principal: Principal,
    identities: readonly InputIdentity[],
  ): Promise<InputSession>
  close(): void
}

// ---- virtual files ---------------------------------------------------------------------------

/** `.status .log .error .inputs .control` of a directory's results. */
export type ControlName = '.status' | '.log' | '.error' | '.inputs' | '.control'

export type VirtualNode =
  | { readonly kind: 'compute'; readonly directory: DirectoryKey }
  | { readonly kind: 'query'; readonly directory: DirectoryKey }
  | { readonly kind: 'control'; readonly directory: DirectoryKey; readonly name: ControlName }

/**
 * What the file server asks. Every request but `release` and `forget-directory` gets exactly one
 * reply (the handler's promise); `signal` is aborted when the caller was interrupted or the mount
 * goes, and the reply is then dropped. Handles are chosen by the handler, never reused while open.
 */
export type VirtualRequest =
  /** `flags` as in open(2), O_TRUNC included when the kernel leaves it to us (else a `truncate`
   * without a handle follows). `created`: it came as a CREATE. Caller's groups are filled in. */
  | { op: 'open'; node: VirtualNode; flags: number; created: boolean; caller: Caller }
  | { op: 'read'; handle: number; offset: number; sizeBytes: number; nonBlocking: boolean }
  | { op: 'write'; handle: number; offset: number; data: Uint8Array; append: boolean }
  /** Each close(2) of a descriptor. */
  | { op: 'flush'; handle: number }
  /** The last reference is gone. No reply is awaited. */
  | { op: 'release'; handle: number }
  /** stat(2) and fstat(2) of compute and control files; must answer at once. */
  | { op: 'getattr'; node: VirtualNode }
  | {
      op: 'truncate'
      node: VirtualNode
      handle: number | undefined
      sizeBytes: number
      caller: Caller
    }
  /** unlink(2) of `.compute`. */
  | { op: 'unlink'; directory: DirectoryKey; caller: Caller }
  /** rename(2) of an ordinary file onto `.compute`: `fd` reads the source and is closed by the file
   * server after the reply; on success the file server removes the source. */
  | { op: 'rename-onto'; directory: DirectoryKey; fd: number; sizeBytes: number; caller: Caller }
  /** A result or the result directory is looked at and the published set does not hold: make it
   * fresh, `publish` it, and only then reply. A rejection is what the looker gets. */
  | { op: 'resolve'; directory: DirectoryKey; caller: Caller }
  /** Is a read of this handle ready now? Otherwise call `wake(handle)` later, once. `forReading`:
   * POLLIN is among the events asked for (it starts a query; waiting to write does not). */
  | { op: 'poll'; handle: number; forReading: boolean }
  /** A directory that has a program was removed through this mount. No reply is awaited. */
  | { op: 'forget-directory'; directory: DirectoryKey }

export interface VirtualAttributes {
  readonly sizeBytes: number
  readonly mtimeNs: bigint
}

/** Per op: open → {handle}, read → {data} (short = end of file), write → {written}, getattr →
 * attributes, poll → {readable, writable}, else {}. */
export interface VirtualReply {
  readonly handle?: number
  /** With `handle`: no offsets, not seekable, read and write have cursors of their own. */
  readonly stream?: boolean
  readonly data?: Uint8Array
  readonly written?: number
  readonly attributes?: VirtualAttributes
  readonly readable?: boolean
  readonly writable?: boolean
}

export type VirtualHandler = (request: VirtualRequest, signal: AbortSignal) => Promise<VirtualReply>

/** What the file server knows of a program so that it answers lookups by itself, at once. */
export interface ProgramEntry {
  /** Size of what reading `.compute` gives. */
  readonly sizeBytes: number
  readonly mtimeNs: bigint
  /** Owner of results, log, status, inputs. */
  readonly principal: { readonly uid: number; readonly gid: number }
  /** Being written for the first time: `.compute` exists, `.results` does not yet. */
  readonly writing: boolean
}

export interface PublishedResult {
  /** One component, no leading dot. */
  readonly name: string
  readonly sizeBytes: number
  readonly etag: string
}

/** One finished, immutable set of results. */
export interface PublishedSet {
  /** Grows by one for each set of the directory; never reused, also not after a restart. */
  readonly version: number
  /** Absolute path of the folder in the results store that holds the files under their names. */
  readonly folder: string
  readonly results: readonly PublishedResult[]
  readonly mtimeNs: bigint
  readonly uid: number
  readonly gid: number
  /** Permission bits of every result, of the listing, and of log, status and inputs. */
  readonly mode: number
  /** Names after `user.insitu.`; `etag` comes from each result. */
  readonly xattrs: Readonly<Record<string, string>>
  /** What the set was computed from; validated natively at each look. */
  readonly inputs: InputSession
}

/** What makes `.results` answer without TypeScript. */
export interface Publication {
  /** Served while its inputs hold; undefined: every look is resolved. */
  readonly current: PublishedSet | undefined
  /** Served under `.last/`, without a look at its inputs. */
  readonly last: PublishedSet | undefined
}

// ---- the server ------------------------------------------------------------------------------

export interface ReservedNames {
  readonly compute: string
  readonly results: string
  readonly query: string
}

export interface MountOptions {
  /** Absolute path of the backing directory. */
  readonly backing: string
  /** Undefined: attached nowhere; others get clones of what is in it (`detached`). ENOTSUP of the fallback. */
  readonly mountPoint: string | undefined
  /** Only this mount changes the backing: cache long. */
  readonly exclusive: boolean
  readonly allowOther: boolean
  /** Show reserved names in readdir. */
  readonly listReserved: boolean
  /** Locks reach the backing filesystem, so that others who lock there are met. */
  readonly sharedBacking: boolean
  /** How many serve; by the number of processors if not given. Each may block in the backing. */
  readonly threads?: number
  /** Of a mount that is attached nowhere: its clones are idmapped so, as `VOLUME:HOST:COUNT,…` of users and
   * groups. Callers are told by ids of the volume all the same. Undefined: no clone is. */
  readonly ids?: { readonly users: string; readonly groups: string } | undefined
  /** Devices are shown without their number, so that they cannot be opened whatever a clone's flags are. */
  readonly hideDevices?: boolean | undefined
  readonly reserved: ReservedNames
  readonly handler: VirtualHandler
  /** Called from no particular request: log it. */
  readonly onNotice: (notice: Notice) => void
}

export type Notice =
  /** A real entry has a reserved name and wins. */
  | { kind: 'reserved-name-taken'; path: string }
  /** Somebody tried to attach a program in a graft that is granted without. */
  | { kind: 'compute-not-granted'; path: string }
  /** The connection ended: unmounted by somebody, aborted, or the device failed. */
  | { kind: 'ended'; reason: string }

export type FileServerName = 'native' | 'fuse-native'

export interface Negotiated {
  /** Which implementation serves. */
  readonly server: FileServerName
  readonly protocol: string
  readonly passthrough: boolean
  /** Why not, when passthrough is off. */
  readonly passthroughReason: string
  readonly maxWriteBytes: number
  readonly threads: number
  /** Names of the INIT flags that are on. */
  readonly flags: readonly string[]
}

export interface Statistics {
  /** Requests served natively, by operation. */
  readonly operations: Readonly<Record<string, number>>
  readonly virtualRequests: number
  readonly waiting: number
  readonly nodes: number
  readonly openHandles: number
  /** Backing files that the kernel holds for passthrough. */
  readonly backingIds: number
  readonly noticeMs: number
  readonly grafts: readonly GraftStatistics[]
}

/** A second backing tree inside the mount. */
export interface GraftOptions {
  /** EROFS for everything that changes something. */
  readonly readOnly: boolean
  /** Can be taken back while it is in use; its data does not pass the daemon by then. */
  readonly revocable: boolean
  /** What its files may occupy in all, with what is there already; beyond that, EDQUOT. */
  readonly quotaBytes: number | undefined
  /** Whether programs may be attached in it, and queries asked; else EACCES. */
  readonly compute: boolean
  /**
   * What the tree is called for whoever grants it, as the name of a volume: 1 to 128 of [A-Za-z0-9._-].
   * Programs in it are found again when the same directory of the same filesystem is grafted under the same
   * identity. EEXIST while that is there already. Undefined: made from the backing's path.
   */
  readonly identity?: string | undefined
}

export interface GraftStatistics {
  readonly id: number
  /** The tree that its point stands in: 0 for the volume, else another graft's id. */
  readonly within: number
  /** Of the point, below the root of that tree, as it was when it was grafted. */
  readonly path: string
  readonly backing: string
  readonly readOnly: boolean
  readonly revocable: boolean
  readonly compute: boolean
  readonly nodes: number
  readonly openHandles: number
  readonly quotaBytes: number | undefined
  readonly usedBytes: number | undefined
}

export interface GraftUsage {
  readonly graft: number
  /** Of its quota. */
  readonly usedBytes: number
}

export interface GraftLatencies {
  readonly graft: number
  /** By bucket: below 4 µs one for each microsecond, then four to an octave. */
  readonly counts: Float64Array
}

/** Hears of trees with programs that come and go. `has`: whether this key is of that tree. */
export interface TreeWatcher {
  /** Resolves once its programs are known. */
  arrived(has: (key: DirectoryKey) => boolean): Promise<void>
  /** Resolves once nothing reads it any more. `why` is for those who wait. */
  leaving(has: (key: DirectoryKey) => boolean, why: VfsError): Promise<void>
}

/** A mount that is attached nowhere, and goes with its server. */
export interface DetachedMount {
  /** A descriptor (O_PATH) of its root; the server closes it. */
  readonly root: number
  /** Minor number of its device, as in `/proc/PID/mountinfo` of who has a clone. */
  readonly deviceMinor: number
}

export interface FileServer {
  readonly volume: Volume
  readonly negotiated: Negotiated
  readonly detached: DetachedMount | undefined
  /** Adds or replaces; undefined removes. Kernel caches of the names are invalidated. */
  setProgram(directory: DirectoryKey, entry: ProgramEntry | undefined): void
  publish(directory: DirectoryKey, publication: Publication): void
  /** A poll on this stream handle may now succeed. */
  wake(handle: number): void
  /** Drop the kernel's caches of a path of the volume (attributes and data). */
  invalidate(path: string): Promise<void>
  /**
   * Makes `backing` (absolute) appear as the entry `name` of a directory of the volume, or of
   * another graft (`graftKey`). Resolves with the graft's number, once it stands. VfsError:
   * ENOENT, ENOTDIR (no such directory or backing, or the name is taken by something else),
   * ENOTEMPTY (something is in the directory of that name), EEXIST (a graft stands there), EINVAL
   * (a name or identity that cannot be, a backing that overlaps the volume's, another graft's or the
   * mount), ESTALE (the directory is gone).
   */
  graft(
    directory: DirectoryKey,
    name: string,
    backing: string,
    options: GraftOptions,
  ): Promise<number>
  /**
   * As `graft`, at a path of the mount, which may lead into other grafts; directories on the way are
   * made as needed, as their owner's. The tree is `subpath` below `backing`, '' for all of it; no link
   * is followed in either path (ELOOP or ENOTDIR). EROFS: the point would lie in a read-only graft.
   */
  graftAt(at: string, backing: string, subpath: string, options: GraftOptions): Promise<number>
  /** Resolves once the kernel shows it: what it believed of the name before is dropped. */
  shown(graft: number): Promise<void>
  /** The key of a directory inside a graft, '' for its root. Of one without programs it is good for
   * grafting only. */
  graftKey(graft: number, path: string): Promise<DirectoryKey>
  /** Of that one and of those that stand in it, outer ones first; empty when there is none. */
  graftsWithin(graft: number): readonly GraftStatistics[]
  /**
   * Takes a graft away, and those inside it first. Resolves when nothing of it can be reached any
   * more, also by what is open (ESTALE) or mapped (SIGBUS). VfsError: ENOENT (no such graft), EBUSY
   * (not revocable, and something is open in it).
   */
  revoke(graft: number): Promise<void>
  /** Of grafts with a quota. */
  usage(): readonly GraftUsage[]
  /** Of grafts that served something: operations so far, by how long they took. */
  latencies(): readonly GraftLatencies[]
  /**
   * Operations that change something in a graft wait, at most so long. Resolves once none of them is under
   * way; false: not in time, or there is no such graft. Revoking ends it.
   */
  holdWrites(graft: number, longestMs: number): Promise<boolean>
  letWrite(graft: number): void
  /** From now on; at most one. */
  watchTrees(watcher: TreeWatcher): void
  statistics(): Statistics
  /** For how long the kernel has been at one notice of what changed. More than a moment only while a process
   * holds the lock of a directory that the notice needs. */
  noticeMs(): number
  /** Lazy detach, then end. Waiters get ENOTCONN. Resolves when no thread is left. */
  unmount(): Promise<void>
}
