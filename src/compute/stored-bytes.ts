/** What the stored sets of one tenant take on disk, and which goes when they take too much. */
import { LRUCache } from 'lru-cache'
import type { PublishedResult } from '../file-server/types.ts'

/** Disks hand out room in such pieces. */
const BLOCK_BYTES = 4096

/** A set's folder and its manifest. */
const SET_BYTES = 2 * BLOCK_BYTES

export function setBytes(results: readonly Pick<PublishedResult, 'sizeBytes'>[]): number {
  return results.reduce(
    (sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES,
    SET_BYTES,
  )
}

export class StoredBytes {
  readonly bound: number
  readonly #sets: LRUCache<string, true>

  /** `onEvict` hears of the folders for which there is no more room: those that were asked for longest ago. */
  constructor(bound: number, onEvict: (folder: string) => void) {
    this.bound = bound
    this.#sets = new LRUCache<string, true>({
      maxSize: bound,
      dispose: (_, folder, reason) => {
        if (reason === 'evict') onEvict(folder)
      },
    })
  }

  /** Of at most `bound` bytes. */
  add(folder: string, sizeBytes: number): void {
    this.#sets.set(folder, true, { size: sizeBytes })
  }

  /** Somebody asks for it. */
  use(folder: string): void {
    this.#sets.get(folder)
  }

  remove(folder: string): void {
    this.#sets.delete(folder)
  }
}
