/** What the stored sets of one tenant take on disk, and which goes when they take too much. */
import { LRUCache } from 'lru-cache'
import type { PublishedResult } from '../file-server/types.ts'

/** Disks hand out room in such pieces. */
const BLOCK_BYTES = 4096

function onDisk(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES
}

/** A folder, its results, and its manifest, which names all inputs. */
export function setBytes(
  results: readonly Pick<PublishedResult, 'sizeBytes'>[],
  manifestBytes = 1,
): number {
  const files = results.reduce((sum, { sizeBytes }) => sum + onDisk(sizeBytes), 0)
  return BLOCK_BYTES + onDisk(manifestBytes) + files
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
    // Setting what is there would leave its size as it was.
    this.#sets.delete(folder)
    this.#sets.set(folder, true, { size: sizeBytes })
  }

  /** It takes that much by now, if it is still there. */
  resize(folder: string, sizeBytes: number): void {
    if (this.#sets.has(folder)) this.add(folder, Math.min(sizeBytes, this.bound))
  }

  /** Somebody asks for it. */
  use(folder: string): void {
    this.#sets.get(folder)
  }

  remove(folder: string): void {
    this.#sets.delete(folder)
  }
}
