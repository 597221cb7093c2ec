/**
 * Loads the native part of npm `fuse-native` 2.2.6, a binding of libfuse 2.9. Its JavaScript stays
 * unused: that unmounts through a shell, and answers an operation of over 15 s while the file system
 * still writes into memory that the answer frees.
 */
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import path from 'node:path'

const require = createRequire(import.meta.url)

/** `result`: 0, a count, or a negative errno. What follows depends on the operation. */
export type Signal = (locals: Buffer, result: number, ...rest: unknown[]) => void

/** Called with the operation's `locals` and number, then what the operation gives. */
export type NativeHandler = (locals: Buffer, op: number, ...args: never[]) => void

export interface Binding {
  readonly sizeof_fuse_thread_t: number
  fuse_native_mount(
    mountPoint: string,
    options: string,
    thread: Buffer,
    self: object,
    allocate: (sizeBytes: number) => Buffer,
    handlers: readonly (NativeHandler | undefined)[],
    implemented: Uint32Array,
  ): void
  /** Unmounts nothing: lets the process end while libfuse's thread may still do so. */
  fuse_native_unmount(mountPoint: string, thread: Buffer): void
  readonly [op: `op_${string}`]: number
  readonly [signal: `fuse_native_signal_${string}`]: Signal
}

/** Keeps a library loaded that Node closes again because it is no addon. */
const RTLD_NODELETE = 0x1000

/** @throws Error whose message says why it cannot be had. */
export function loadBinding(): Binding {
  if (process.arch !== 'x64')
    throw new Error(`fuse-native is built for x64 only, and this is ${process.arch}`)
  let folder: string
  try {
    folder = path.join(path.dirname(require.resolve('fuse-native')), 'prebuilds/linux-x64')
  } catch (cause) {
    throw new Error('the optional package fuse-native is not installed', { cause })
  }
  try {
    loadLibrary(path.join(folder, 'libfuse.so'))
    return require(path.join(folder, 'node.napi.node')) as Binding
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`fuse-native does not load: ${why}`, { cause })
  }
}

/** The binding wants `libfuse.so.2`, which few hosts have; the one it brings is found once loaded. */
function loadLibrary(file: string): void {
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen
  try {
    process.dlopen({ exports: {} }, file, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE)
  } catch (error) {
    // It is loaded now; that it is no addon is known.
    if (!(error instanceof Error) || !error.message.includes('self-register')) throw error
  }
}
