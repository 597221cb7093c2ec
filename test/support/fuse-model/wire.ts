/** The FUSE protocol as far as the model speaks it: offsets as in `linux/fuse.h`, little endian. */
import type { Node } from './model.ts'

export const OPCODES = {
  1: 'lookup',
  2: 'forget',
  3: 'getattr',
  4: 'setattr',
  5: 'readlink',
  6: 'symlink',
  8: 'mknod',
  9: 'mkdir',
  10: 'unlink',
  11: 'rmdir',
  12: 'rename',
  13: 'link',
  14: 'open',
  15: 'read',
  16: 'write',
  17: 'statfs',
  18: 'release',
  20: 'fsync',
  25: 'flush',
  26: 'init',
  27: 'opendir',
  28: 'readdir',
  29: 'releasedir',
  30: 'fsyncdir',
  35: 'create',
  36: 'interrupt',
  38: 'destroy',
  42: 'batchForget',
} as const

export type Operation = (typeof OPCODES)[keyof typeof OPCODES]

/** These get no reply. */
export const SILENT: ReadonlySet<Operation> = new Set(['forget', 'batchForget', 'interrupt'])

/** Bits of `valid` in SETATTR. */
export const SET = {
  mode: 1,
  uid: 2,
  gid: 4,
  size: 8,
  atime: 16,
  mtime: 32,
  atimeNow: 128,
  mtimeNow: 256,
}

const IN_HEADER_BYTES = 40
const OUT_HEADER_BYTES = 16
const ATTR_BYTES = 88
const BIG_WRITES = 1 << 5
export const MAX_WRITE_BYTES = 128 * 1024

export class Request {
  readonly operation: Operation | undefined
  readonly unique: bigint
  readonly nodeId: number
  readonly uid: number
  readonly gid: number
  readonly body: Buffer

  constructor(frame: Buffer) {
    const opcode = frame.readUInt32LE(4)
    this.operation = (OPCODES as Record<number, Operation | undefined>)[opcode]
    this.unique = frame.readBigUInt64LE(8)
    this.nodeId = Number(frame.readBigUInt64LE(16))
    this.uid = frame.readUInt32LE(24)
    this.gid = frame.readUInt32LE(28)
    this.body = frame.subarray(IN_HEADER_BYTES, frame.readUInt32LE(0))
  }

  u32(at: number): number {
    return this.body.readUInt32LE(at)
  }

  u64(at: number): number {
    return Number(this.body.readBigUInt64LE(at))
  }

  /** Seconds at `at`, nanoseconds at `nsAt`. */
  time(at: number, nsAt: number): bigint {
    return this.body.readBigInt64LE(at) * 1_000_000_000n + BigInt(this.u32(nsAt))
  }

  /** Strings that end with a NUL, from `at` on. */
  names(at: number): string[] {
    return this.body.toString('latin1', at).split('\0').slice(0, -1)
  }
}

export function replyTo(unique: bigint, errno: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(OUT_HEADER_BYTES)
  header.writeUInt32LE(OUT_HEADER_BYTES + body.length, 0)
  header.writeInt32LE(-errno, 4)
  header.writeBigUInt64LE(unique, 8)
  return Buffer.concat([header, body])
}

export function initOut(): Buffer {
  const out = Buffer.alloc(64)
  out.writeUInt32LE(7, 0)
  out.writeUInt32LE(31, 4)
  out.writeUInt32LE(MAX_WRITE_BYTES, 8)
  out.writeUInt32LE(BIG_WRITES, 12)
  out.writeUInt32LE(MAX_WRITE_BYTES, 20)
  out.writeUInt32LE(1, 24)
  return out
}

/** Nothing may be remembered: the model answers every question itself. */
export function entryOut(node: Node): Buffer {
  const out = Buffer.alloc(40 + ATTR_BYTES)
  out.writeBigUInt64LE(BigInt(node.ino), 0)
  attributes(node).copy(out, 40)
  return out
}

export function attrOut(node: Node): Buffer {
  const out = Buffer.alloc(16 + ATTR_BYTES)
  attributes(node).copy(out, 16)
  return out
}

export function openOut(handle: number): Buffer {
  const out = Buffer.alloc(16)
  out.writeBigUInt64LE(BigInt(handle), 0)
  return out
}

export function writeOut(sizeBytes: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeUInt32LE(sizeBytes, 0)
  return out
}

export function statfsOut(): Buffer {
  const out = Buffer.alloc(80)
  out.writeUInt32LE(4096, 40)
  out.writeUInt32LE(255, 44)
  out.writeUInt32LE(4096, 48)
  return out
}

/** `offset` is where the next one begins. */
export function dirent(name: string, node: Node, offset: number): Buffer {
  const out = Buffer.alloc(Math.ceil((24 + name.length) / 8) * 8)
  out.writeBigUInt64LE(BigInt(node.ino), 0)
  out.writeBigUInt64LE(BigInt(offset), 8)
  out.writeUInt32LE(name.length, 16)
  out.writeUInt32LE(node.mode >> 12, 20)
  out.write(name, 24, 'latin1')
  return out
}

function attributes(node: Node): Buffer {
  const out = Buffer.alloc(ATTR_BYTES)
  const size = node.content.length
  for (const [index, value] of [node.ino, size, Math.ceil(size / 512)].entries())
    out.writeBigUInt64LE(BigInt(value), index * 8)
  for (const [index, ns] of [node.atimeNs, node.mtimeNs, node.ctimeNs].entries()) {
    out.writeBigInt64LE(ns / 1_000_000_000n, 24 + index * 8)
    out.writeUInt32LE(Number(ns % 1_000_000_000n), 48 + index * 4)
  }
  const { mode, nlink, uid, gid } = node
  for (const [index, value] of [mode, nlink, uid, gid].entries())
    out.writeUInt32LE(value, 60 + index * 4)
  out.writeUInt32LE(4096, 80)
  return out
}
