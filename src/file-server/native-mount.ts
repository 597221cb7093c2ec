/** The native file server, as far as it needs no virtual files. */
import { closeSync } from 'node:fs'
import { addon } from '../addon/index.ts'
import type { NativeFileServer, NativeMountOptions } from '../addon/file-server.ts'
import type { NativeVirtualFiles } from '../addon/virtual.ts'
import { VfsError } from '../errors.ts'
import { errnoName, toVfsError } from './native-error.ts'
import type { DetachedMount, Negotiated } from './types.ts'

/** Mounts; VfsError when that fails, and then nothing is mounted. */
export async function startNative(
  options: NativeMountOptions,
  onEnded: (reason: string) => void,
  virtualFiles?: NativeVirtualFiles,
): Promise<NativeFileServer> {
  try {
    const native = new addon.NativeFileServer(options, onEnded, virtualFiles)
    await native.start()
    return native
  } catch (error) {
    throw toVfsError(error)
  }
}

/** Frees a mount point whose server is gone; VfsError (EINVAL: nothing is mounted there). */
export function unmountDetached(mountPoint: string): void {
  const errno = addon.unmountDetached(mountPoint)
  if (errno !== 0) throw notDone(errno, `${mountPoint} cannot be unmounted`)
}

/** What keeps a filesystem, and the number of its device, after it was unmounted and its server ended. */
export interface MountClone {
  /** Stands at `place` from then on, also when this process ends; VfsError. */
  attach(place: string): void
  close(): void
}

/** Of the mount of 0:`deviceMinor` at `mountPoint`, without a word to its server; VfsError. */
export function cloneMounted(mountPoint: string, deviceMinor: number): MountClone {
  const clone = addon.cloneMounted(mountPoint, deviceMinor)
  if (clone < 0) throw notDone(-clone, `${mountPoint} cannot be held`)
  return {
    attach(place) {
      const errno = addon.attachClone(clone, place)
      if (errno !== 0) throw notDone(errno, `nothing can be mounted at ${place}`)
    },
    close: () => closeSync(clone),
  }
}

function notDone(errno: number, what: string): VfsError {
  const code = errnoName(errno)
  return new VfsError(code, `${what}: ${code}`)
}

/** Bits of the INIT flags, as the kernel's header names them. */
const flagNames: Readonly<Record<number, string>> = {
  0: 'ASYNC_READ',
  1: 'POSIX_LOCKS',
  3: 'ATOMIC_O_TRUNC',
  5: 'BIG_WRITES',
  6: 'DONT_MASK',
  10: 'FLOCK_LOCKS',
  11: 'HAS_IOCTL_DIR',
  12: 'AUTO_INVAL_DATA',
  13: 'DO_READDIRPLUS',
  14: 'READDIRPLUS_AUTO',
  15: 'ASYNC_DIO',
  18: 'PARALLEL_DIROPS',
  20: 'POSIX_ACL',
  22: 'MAX_PAGES',
  23: 'CACHE_SYMLINKS',
  25: 'EXPLICIT_INVAL_DATA',
  28: 'HANDLE_KILLPRIV_V2',
  29: 'SETXATTR_EXT',
  30: 'INIT_EXT',
  34: 'CREATE_SUPP_GROUP',
  35: 'HAS_EXPIRE_ONLY',
  36: 'DIRECT_IO_ALLOW_MMAP',
  37: 'PASSTHROUGH',
  38: 'NO_EXPORT_SUPPORT',
  39: 'HAS_RESEND',
  40: 'ALLOW_IDMAP',
}

export function detachedOf(native: NativeFileServer): DetachedMount | undefined {
  const { detachedRoot, device } = native.negotiated()
  if (detachedRoot === undefined || device === undefined) return undefined
  return { root: detachedRoot, deviceMinor: Number(device.split(':')[1]) }
}

export function negotiatedOf(native: NativeFileServer): Negotiated {
  const { minor, flags, detachedRoot: _, device: __, ...rest } = native.negotiated()
  const names = Object.entries(flagNames)
    .filter(([bit]) => (flags >> BigInt(bit)) & 1n)
    .map(([, name]) => name)
  return { server: 'native', protocol: `7.${minor}`, flags: names, ...rest }
}
