/** stat(2) and statvfs(3) as fuse-native takes them: 32-bit words, times in milliseconds. */
import type { StatsFs, Stats } from 'node:fs'

export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly sizeBytes: number
  readonly nlink: number
  readonly ino: number
  readonly rdev: number
  readonly blksize: number
  readonly blocks: number
  readonly atimeMs: number
  readonly mtimeMs: number
  readonly ctimeMs: number
}

const WORD = 2 ** 32

export function attributesOf(stats: Stats, rootDev: number): Attributes {
  const { mode, uid, gid, size: sizeBytes, nlink, rdev, blksize, blocks } = stats
  const { atimeMs, mtimeMs, ctimeMs } = stats
  // A file system that is mounted inside the backing has the same numbers once more.
  const ino = shortIno(stats.dev === rootDev ? stats.ino : stats.ino + stats.dev * 0x9e37)
  return { mode, uid, gid, sizeBytes, nlink, ino, rdev, blksize, blocks, atimeMs, mtimeMs, ctimeMs }
}

/** 32 bits are all that gets through. 0 would hide the entry from readdir(3). */
export function shortIno(ino: number): number {
  return (((ino % WORD) ^ Math.floor(ino / WORD)) >>> 0 || 1) >>> 0
}

/** The order of `populate_stat` in fuse-native.c. */
export function statWords(attributes: Attributes | undefined): Uint32Array {
  const words = new Uint32Array(18)
  if (attributes === undefined) return words
  words[0] = attributes.mode
  words[1] = attributes.uid
  words[2] = attributes.gid
  setDouble(words, 3, attributes.sizeBytes)
  words[6] = attributes.nlink
  words[7] = attributes.ino
  words[8] = attributes.rdev
  words[9] = attributes.blksize
  setDouble(words, 10, attributes.blocks)
  setDouble(words, 12, timeOf(attributes.atimeMs))
  setDouble(words, 14, timeOf(attributes.mtimeMs))
  setDouble(words, 16, timeOf(attributes.ctimeMs))
  return words
}

/** The order of `populate_statvfs`. Sizes that need more than 32 bits are told in larger blocks. */
export function statfsWords(stats: StatsFs | undefined): Uint32Array {
  const words = new Uint32Array(11)
  if (stats === undefined) return words
  let scale = 1
  while (stats.blocks / scale >= WORD) scale *= 2
  words[0] = stats.bsize * scale
  words[1] = stats.bsize * scale
  words[2] = stats.blocks / scale
  words[3] = stats.bfree / scale
  words[4] = stats.bavail / scale
  words[5] = Math.min(stats.files, WORD - 1)
  words[6] = Math.min(stats.ffree, WORD - 1)
  words[7] = words[6]
  words[10] = 255
  return words
}

/** The binding counts in unsigned milliseconds: what is before 1970 shows as its beginning. */
function timeOf(ms: number): number {
  return Math.max(Math.floor(ms), 0)
}

function setDouble(words: Uint32Array, at: number, value: number): void {
  words[at] = value % WORD
  words[at + 1] = Math.floor(value / WORD)
}
