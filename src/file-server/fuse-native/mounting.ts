/** mount(2) by libfuse, and its end without a shell. */
import { execFile } from 'node:child_process'
import { readFile, realpath } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { VfsError } from '../../errors.ts'
import type { Binding, NativeHandler } from './package.ts'

const run = promisify(execFile)

/**
 * Nothing of anybody's choosing is in here: libfuse splits the text at commas and unescapes it. What
 * is cached is nothing but pages of open files, since nobody can tell the kernel to drop a name.
 */
const OPTIONS = [
  'default_permissions',
  'fsname=insitu',
  'subtype=insitu',
  'use_ino', // else hard links are different files
  'big_writes', // else 4 KiB at a time
  'atomic_o_trunc', // a program that is emptied by its open is known from one that is cut
  'entry_timeout=0',
  'attr_timeout=0',
  'negative_timeout=0',
].join(',')

/** The binding cuts at 1,024 bytes, and would mount elsewhere. */
const MAX_MOUNT_POINT_BYTES = 1_000

/** INIT comes at once, or something is badly wrong. */
const INIT_MS = 10_000

/** libfuse threads use these for as long as the process lives. */
const kept: unknown[] = []

export interface Mounting {
  readonly binding: Binding
  readonly mountPoint: string
  readonly handlers: (NativeHandler | undefined)[]
  readonly implemented: Uint32Array
}

/** Resolves with what ends the mount when the kernel has shaken hands; VfsError when that fails, and then
 * nothing is mounted. */
export async function mount({
  binding,
  mountPoint,
  handlers,
  implemented,
}: Mounting): Promise<() => Promise<void>> {
  if (Buffer.byteLength(mountPoint) > MAX_MOUNT_POINT_BYTES || mountPoint.includes('\ufffd'))
    throw new VfsError('ENAMETOOLONG', `${mountPoint} is too long for fuse-native, or not in UTF-8`)
  if ((await realpath(mountPoint)) !== mountPoint)
    throw new VfsError('ELOOP', `${mountPoint} is not a path without links`)
  const ready = Promise.withResolvers<void>()
  const init = binding['op_init']
  const signalInit = binding['fuse_native_signal_init']
  if (init === undefined || signalInit === undefined) throw new Error('fuse-native has no init')
  implemented[init] = 1
  handlers[init] = (locals) => {
    signalInit(locals, 0)
    ready.resolve()
  }
  const thread = Buffer.alloc(binding.sizeof_fuse_thread_t)
  const self = {}
  const allocate = (sizeBytes: number): Buffer => Buffer.alloc(sizeBytes)
  kept.push(thread, self, allocate, handlers)
  try {
    binding.fuse_native_mount(
      mountPoint,
      `-o${OPTIONS}`,
      thread,
      self,
      allocate,
      handlers,
      implemented,
    )
  } catch (cause) {
    throw new VfsError('EIO', `libfuse cannot mount at ${mountPoint}`, { cause })
  }
  const end = async (): Promise<void> => {
    await unmount(mountPoint)
    binding.fuse_native_unmount(mountPoint, thread)
  }
  const late = sleep(INIT_MS, 'late', { ref: false })
  if ((await Promise.race([ready.promise, late])) !== 'late') return end
  await end()
  throw new VfsError('ETIMEDOUT', `the kernel did not answer the mount at ${mountPoint}`)
}

/** The device's minor number of the FUSE file system that is mounted there; undefined: none is. */
export async function mountedAt(mountPoint: string): Promise<string | undefined> {
  const table = await readFile('/proc/self/mountinfo', 'utf8')
  const escaped = mountPoint.replace(
    /[ \t\n\\]/g,
    (each) => `\\${each.charCodeAt(0).toString(8).padStart(3, '0')}`,
  )
  const line = table
    .split('\n')
    .findLast((each) => each.split(' ')[4] === escaped && / - fuse\.insitu /.test(each))
  return line?.split(' ')[2]
}

/** Lazily: what is open there stays open and fails. The name is one argument, and no shell sees it. */
async function unmount(mountPoint: string): Promise<void> {
  if ((await mountedAt(mountPoint)) === undefined) return
  const isRoot = process.getuid?.() === 0
  const [command, ...args] = isRoot
    ? ['umount', '-i', '-l', '--', mountPoint]
    : ['fusermount3', '-u', '-z', '--', mountPoint]
  try {
    // The working directory: neither program may be led to look at the mount that we serve.
    await run(command ?? '', args, { timeout: 10_000, cwd: path.sep })
  } catch (cause) {
    if ((await mountedAt(mountPoint)) === undefined) return
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VfsError('EBUSY', `${mountPoint} cannot be unmounted: ${why}`, { cause })
  }
}
