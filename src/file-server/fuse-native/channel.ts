/** Between the binding, which gives an operation's arguments and wants one signal, and `Operations`. */
import type { StatsFs } from 'node:fs'
import { constants } from 'node:os'
import { errnoOf } from '../../errors.ts'
import { statfsWords, statWords, type Attributes } from './attributes.ts'
import type { Awaitable } from './open-files.ts'
import type { Binding, NativeHandler } from './package.ts'

export interface Listed {
  readonly name: string
  readonly attributes: Attributes
}

/** Paths begin with '/'. Failures are VfsError or what node:fs throws. */
export interface Operations {
  getattr(path: string): Awaitable<Attributes>
  fgetattr(handle: number): Awaitable<Attributes>
  /** With `.` and `..`. */
  readdir(path: string): Awaitable<readonly Listed[]>
  readlink(path: string): Awaitable<string>
  statfs(path: string): Awaitable<StatsFs>
  mkdir(path: string, mode: number): Awaitable<void>
  mknod(path: string, mode: number): Awaitable<void>
  symlink(target: string, path: string): Awaitable<void>
  link(from: string, to: string): Awaitable<void>
  unlink(path: string): Awaitable<void>
  rmdir(path: string): Awaitable<void>
  rename(from: string, to: string): Awaitable<void>
  chmod(path: string, mode: number): Awaitable<void>
  chown(path: string, uid: number, gid: number): Awaitable<void>
  utimens(path: string, atimeMs: number, mtimeMs: number): Awaitable<void>
  truncate(path: string, sizeBytes: number): Awaitable<void>
  /** What is opened or created gives a handle above 0. */
  open(path: string, flags: number): Awaitable<number>
  create(path: string, mode: number): Awaitable<number>
  read(handle: number, into: Buffer, offset: number): Awaitable<number>
  write(handle: number, data: Buffer, offset: number): Awaitable<number>
  flush(handle: number): Awaitable<void>
  fsync(handle: number, dataOnly: boolean): Awaitable<void>
  ftruncate(handle: number, sizeBytes: number): Awaitable<void>
  release(handle: number): Awaitable<void>
  /** Names come with their namespace, as `user.name`. */
  getxattr(path: string, name: string): Awaitable<Buffer>
  listxattr(path: string): Awaitable<Buffer>
}

/** How many of each were asked. */
export type Counts = Record<string, number>

/**
 * Not there, and why: `opendir`, `releasedir` and `fsyncdir` are given a directory's path, and for a
 * removed one the binding hands a null pointer on and crashes. `access` is the kernel's. `setxattr`
 * is nothing that Node can do.
 */
export function handlersFor(binding: Binding, operations: Operations, counts: Counts) {
  const handlers: (NativeHandler | undefined)[] = Array.from<undefined>({ length: 35 })
  const implemented = new Uint32Array(35)

  /** `work` gives what `reply` turns into the signal's arguments; `failed` is what follows an errno. */
  function on<Args extends unknown[], T>(
    name: string,
    work: (...args: Args) => Awaitable<T>,
    reply: (value: T, ...args: Args) => readonly [result: number, ...rest: unknown[]],
    failed: (...args: Args) => readonly unknown[] = () => [],
  ): void {
    const signal = binding[`fuse_native_signal_${name}`]
    const op = binding[`op_${name}`]
    if (signal === undefined || op === undefined) throw new Error(`fuse-native has no ${name}`)
    implemented[op] = 1
    const answer = async (locals: Buffer, args: Args): Promise<void> => {
      let result: readonly [number, ...unknown[]]
      try {
        const given = work(...args)
        result = reply(given instanceof Promise ? await given : given, ...args)
      } catch (error) {
        result = [-constants.errno[errnoOf(error)], ...failed(...args)]
      }
      signal(locals, ...result)
    }
    handlers[op] = (locals: Buffer, _op: number, ...args: unknown[]) => {
      counts[name] = (counts[name] ?? 0) + 1
      void answer(locals, (name === 'utimens' ? [locals, ...args] : args) as Args)
    }
  }

  const done = (): readonly [number] => [0]
  const attributes = (value: Attributes) => [0, statWords(value)] as const
  const noAttributes = () => [statWords(undefined)]
  const handle = (value: number) => [0, value] as const
  const noHandle = () => [0]

  on('getattr', (path: string) => operations.getattr(path), attributes, noAttributes)
  on('fgetattr', (_: string, fh: number) => operations.fgetattr(fh), attributes, noAttributes)
  on(
    'readdir',
    (path: string) => operations.readdir(path),
    (entries) => [
      0,
      entries.map(({ name }) => name),
      entries.map((entry) => statWords(entry.attributes)),
    ],
    () => [[], []],
  )
  on(
    'readlink',
    (path: string) => operations.readlink(path),
    (target) => [0, target],
    () => [''],
  )
  on(
    'statfs',
    (path: string) => operations.statfs(path),
    (stats) => [0, statfsWords(stats)],
    () => [statfsWords(undefined)],
  )
  on('mkdir', (path: string, mode: number) => operations.mkdir(path, mode), done)
  on('mknod', (path: string, mode: number) => operations.mknod(path, mode), done)
  on('symlink', (target: string, path: string) => operations.symlink(target, path), done)
  on('link', (from: string, to: string) => operations.link(from, to), done)
  on('unlink', (path: string) => operations.unlink(path), done)
  on('rmdir', (path: string) => operations.rmdir(path), done)
  on('rename', (from: string, to: string) => operations.rename(from, to), done)
  on('chmod', (path: string, mode: number) => operations.chmod(path, mode), done)
  on('chown', (path: string, uid: number, gid: number) => operations.chown(path, uid, gid), done)
  on(
    'utimens',
    (locals: Buffer, path: string, low: number, high: number) =>
      operations.utimens(path, ...timesOf(locals, low, high)),
    done,
  )
  on(
    'truncate',
    (path: string, low: number, high: number) => operations.truncate(path, double(low, high)),
    done,
  )
  on('open', (path: string, flags: number) => operations.open(path, flags), handle, noHandle)
  on('create', (path: string, mode: number) => operations.create(path, mode), handle, noHandle)
  // The last argument gives the memory back; nobody may look at the buffer after that.
  type Transfer = [
    path: string,
    fh: number,
    buffer: Buffer,
    size: number,
    low: number,
    high: number,
  ]
  on(
    'read',
    (...[, fh, into, , low, high]: Transfer) => operations.read(fh, into, double(low, high)),
    (size, _path, _fh, into) => [size, 0, into.buffer],
    (_path, _fh, into) => [0, into.buffer],
  )
  on(
    'write',
    (...[, fh, data, , low, high]: Transfer) => operations.write(fh, data, double(low, high)),
    (size, _path, _fh, data) => [size, 0, data.buffer],
    (_path, _fh, data) => [0, data.buffer],
  )
  on('flush', (_: string, fh: number) => operations.flush(fh), done)
  on(
    'fsync',
    (_: string, dataOnly: number, fh: number) => operations.fsync(fh, dataOnly !== 0),
    done,
  )
  on(
    'ftruncate',
    (_: string, fh: number, low: number, high: number) =>
      operations.ftruncate(fh, double(low, high)),
    done,
  )
  on('release', (_: string, fh: number) => operations.release(fh), done)
  on(
    'getxattr',
    (path: string, name: string, _into: Buffer) => operations.getxattr(path, name),
    (value, _path, _name, into) => [fill(into, value), into.buffer],
    (_path, _name, into) => [into.buffer],
  )
  on(
    'listxattr',
    (path: string, _into: Buffer) => operations.listxattr(path),
    (names, _path, into) => [fill(into, names), into.buffer],
    (_path, into) => [into.buffer],
  )
  return { handlers, implemented }
}

/** An empty buffer asks for the size. */
function fill(into: Buffer, value: Buffer): number {
  if (into.byteLength === 0) return value.byteLength
  // The binding would answer with more bytes than the buffer has.
  if (value.byteLength > into.byteLength) return -constants.errno.ERANGE
  return value.copy(into)
}

function double(low: number, high: number): number {
  return low + high * 2 ** 32
}

/** Of `fuse_thread_locals_t` on x64. */
const ATIME_AT = 104
const MTIME_AT = 112

/** fuse-native 2.2.6 gives the time of access twice, and the other one not at all; it is read from
 * where the binding keeps it, if that is where it should be. */
function timesOf(locals: Buffer, low: number, high: number): [atimeMs: number, mtimeMs: number] {
  const atimeMs = locals.readBigInt64LE(ATIME_AT)
  if (BigInt.asUintN(64, atimeMs) !== BigInt(low) + (BigInt(high) << 32n))
    throw new Error('this is not fuse-native 2.2.6')
  return [Number(atimeMs), Number(locals.readBigInt64LE(MTIME_AT))]
}
