/**
 * Reading a file piece by piece in bounded memory. Lines come in batches: native code splits a
 * chunk and makes all its strings in one call.
 */
import { bounds, natives } from './border.ts'
import type { Opened } from './files.ts'
import {
  IteratorPrototype,
  RangeError,
  Uint8Array,
  copyWithin,
  createObject,
  min,
  setBytes,
  subarray,
} from './primordials.ts'

/** Small enough that a batch's strings die young, large enough that a call costs nothing. */
const LINE_CHUNK_BYTES = 128 * 1024

/** Own `next`, not a generator: engines inline it into the loop. Inherits the iterator helpers. */
function iterator<T>(next: () => IteratorResult<T>, close: () => void): IterableIterator<T> {
  const object = createObject(IteratorPrototype) as IterableIterator<T>
  object.next = next
  object.return = () => {
    close()
    return { value: undefined, done: true }
  }
  return object
}

/** `open` is called at the first `next`, so that a loop that never runs opens nothing. */
export function readLines(name: string, open: () => Opened): IterableIterator<string> {
  let file: Opened | undefined
  let ended = false
  let buffer = new Uint8Array(0)
  let filled = 0
  let batch: (string | number)[] = []
  let index = 0
  let count = 0
  let delivered = 0

  function close(): void {
    ended = true
    batch = []
    index = 0
    count = 0
    buffer = new Uint8Array(0)
    file?.close()
    file = undefined
  }

  /** Makes the next batch; false at the end. */
  function fill(): boolean {
    if (ended) return false
    delivered += count
    if (file === undefined) {
      file = open()
      buffer = new Uint8Array(min(LINE_CHUNK_BYTES, file.remaining()))
      file.skipByteOrderMark()
    }
    for (;;) {
      if (filled === buffer.length && filled > 0) grow()
      filled += file.read(buffer, filled, buffer.length - filled)
      const last = file.remaining() === 0
      if (last && filled === 0) break
      batch = natives.splitLines(buffer, 0, filled, last)
      count = batch.length - 1
      const used = batch[count] as number
      copyWithin(buffer, 0, used, filled)
      filled -= used
      index = 0
      if (count > 0) return true
      if (last) break
    }
    close()
    return false
  }

  /** A line is longer than the buffer: its start must be kept. */
  function grow(): void {
    if (filled >= bounds.lineBytes) {
      const line = delivered + 1
      close()
      throw new RangeError(
        `lines(): line ${line} of ${name} is longer than ${bounds.lineBytes} bytes; read it with chunks()`,
      )
    }
    const larger = new Uint8Array(min(buffer.length * 2, bounds.lineBytes))
    setBytes(larger, buffer)
    buffer = larger
  }

  return iterator<string>(() => {
    if (index === count && !fill()) return { value: undefined, done: true }
    return { value: batch[index++] as string, done: false }
  }, close)
}

/** Each chunk is bytes of its own, for the program to keep. */
export function readChunks(
  open: () => Opened,
  sizeBytes: number,
): IterableIterator<Uint8Array<ArrayBuffer>> {
  let file: Opened | undefined
  let ended = false

  function close(): void {
    ended = true
    file?.close()
    file = undefined
  }

  return iterator<Uint8Array<ArrayBuffer>>(() => {
    if (!ended) {
      file ??= open()
      const chunk = new Uint8Array(min(sizeBytes, file.remaining()))
      const count = file.read(chunk, 0, chunk.length)
      if (count > 0) {
        return {
          value: count === chunk.length ? chunk : (subarray(chunk, 0, count) as typeof chunk),
          done: false,
        }
      }
      close()
    }
    return { value: undefined, done: true }
  }, close)
}
