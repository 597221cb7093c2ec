/**
 * What the daemon and a worker say to each other: packets of at most 64 KiB, each a u32 length (little
 * endian), a JSON header of that length, and raw bytes. Descriptors travel from daemon to worker only.
 *
 *     worker                               daemon
 *     ready                             →
 *                                       ←  load, bytes…          a program, and a library or none after it
 *                                       ←  run                    perhaps before the next answer
 *     compiled                          →
 *     open | stat | list | next | spool →  one at a time
 *                                       ←  opened | attributes | entries | spool | refused
 *     log (no answer)                   →
 *     results…, bytes…, done            →
 *                                       ←  renew                 a fresh isolate
 *     ready                             →
 *
 * A `run` of what did not compile is passed over.
 *
 * A run's results are consecutive ranges of one stream of bytes, in the order of their names in
 * `results`: the `bytes` frames of the end, or, once they outgrow INLINE_BYTES, the spool file.
 *
 * The daemon does not believe a word of it: its checks are in `src/sandbox/checks.ts`.
 */
import type { GuestError, RunLimits } from '../sandbox/types.ts'

/** The kernel keeps a packet in one piece of memory; larger ones begin to fail under pressure. */
export const FRAME_BYTES = 64 * 1024

/** Room for the header of a frame that carries bytes. */
export const TAIL_BYTES = FRAME_BYTES - 1024

/** Results up to here travel in frames: four of them cost less than a file. */
export const INLINE_BYTES = 256 * 1024

/** An error fits one frame also when JSON needs six bytes a character. */
export const ERROR_BOUNDS = { nameChars: 128, messageChars: 2048, stackChars: 8192 } as const

export type Kind = 'file' | 'directory' | 'symlink' | 'other'

export type ToWorker =
  | {
      /** The frame's tail is the first of the bytes. */
      readonly type: 'load'
      readonly programBytes: number
      /** -1: there is no library. */
      readonly libraryBytes: number
    }
  | { readonly type: 'bytes' }
  | {
      readonly type: 'run'
      /** Hex. */
      readonly seed: string
      readonly nowMs: number
      readonly limits: RunLimits
    }
  | { readonly type: 'renew'; readonly limits: RunLimits }
  | { readonly type: 'opened'; readonly sizeBytes: number; readonly mtimeMs: number }
  | {
      readonly type: 'attributes'
      readonly kind: Kind
      readonly sizeBytes: number
      readonly mtimeMs: number
    }
  | {
      readonly type: 'entries'
      readonly entries: readonly (readonly [name: string, kind: Kind])[]
      readonly more: boolean
    }
  | { readonly type: 'spool' }
  | { readonly type: 'refused'; readonly code: string; readonly message: string }

export type FromWorker =
  | { readonly type: 'ready' }
  | {
      readonly type: 'compiled'
      readonly error: GuestError | undefined
      /** The worker asks to be ended: its trusted half is no longer sound. */
      readonly retire: boolean
    }
  | { readonly type: 'open' | 'stat' | 'list'; readonly path: string }
  | { readonly type: 'next' }
  | { readonly type: 'log' }
  | { readonly type: 'spool' }
  /** The run went over a bound that the worker keeps; it is over. */
  | { readonly type: 'over'; readonly limit: 'output' | 'files' }
  /** The spool file's file system is full; the run is over. */
  | { readonly type: 'full' }
  | {
      readonly type: 'results'
      readonly results: readonly (readonly [name: string, sizeBytes: number])[]
    }
  | { readonly type: 'bytes' }
  | {
      readonly type: 'done'
      readonly error: GuestError | undefined
      readonly spooled: boolean
      readonly retire: boolean
      /** The last batch of `results`; the frame's tail is the last of `bytes`, if there is one. */
      readonly results: readonly (readonly [name: string, sizeBytes: number])[]
    }

/** NAME_MAX of every file system that matters. */
const NAME_BYTES = 255

/** One path component that a shell user can name and that hides nowhere. */
export function isResultName(name: string): boolean {
  return (
    name !== '' &&
    !name.startsWith('.') &&
    !/[/\0]/.test(name) &&
    name.isWellFormed() &&
    Buffer.byteLength(name) <= NAME_BYTES
  )
}

/** The header of a frame, ready to be followed by its bytes. */
export function encodeHeader(message: ToWorker | FromWorker): Buffer {
  const json = JSON.stringify(message)
  const length = Buffer.byteLength(json)
  const header = Buffer.allocUnsafe(4 + length)
  header.writeUInt32LE(length, 0)
  header.write(json, 4)
  return header
}

/** Splits a frame; undefined when it is none. The header is whatever the other side wrote. */
export function decodeFrame(frame: Buffer): { header: unknown; tail: Buffer } | undefined {
  if (frame.length < 4) return undefined
  const length = frame.readUInt32LE(0)
  if (length > frame.length - 4) return undefined
  try {
    const header: unknown = JSON.parse(frame.toString('utf8', 4, 4 + length))
    return { header, tail: frame.subarray(4 + length) }
  } catch {
    return undefined
  }
}
