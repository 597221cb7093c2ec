/**
 * Finished sets of results on disk: `ROOT/DIRECTORY/VERSION/` holds the files under their names and
 * a manifest. A set is built in `ROOT/.incoming` and renamed into place; its manifest, written last and
 * in one piece, says that it is complete, whenever this process was killed.
 *
 * Nothing is synced: a loss of power may leave a complete folder with missing bytes, so what was
 * stored before the last boot is checked against its sizes and etags before it is served.
 */
import { hash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DEFAULT_COMPUTE_LIMITS } from '../config/limits.ts'
import { errnoOf } from '../errors.ts'
import type { DirectoryKey, PublishedResult } from '../file-server/types.ts'
import type { RunResult } from '../sandbox/types.ts'
import { decodeManifest, encodeManifest, MANIFEST_NAME, type Manifest } from './manifest.ts'
import { isWhole, promptFiles, writeResults, type StoreFiles } from './result-files.ts'
import { runError, RunError } from './run-error.ts'
import { setBytes, StoredBytes } from './stored-bytes.ts'

export interface StoredSet {
  readonly folder: string
  readonly manifest: Manifest
}

export interface StoreOptions {
  readonly files: StoreFiles
  readonly spares: number
  /** Of all sets together. */
  readonly bytes: number
}

/**
 * Making a file or folder is the dearest call by far (on a well-filled ext4 a millisecond, thirty
 * times a write), so a few empty sets are made ahead, while nobody waits.
 */
const DEFAULTS: StoreOptions = {
  files: promptFiles,
  spares: 4,
  bytes: DEFAULT_COMPUTE_LIMITS.storedBytes,
}

/** What nobody waits for is done once the answer that was just stored has been read. */
export const TIDY_DELAY_MS = 5

const INCOMING = '.incoming'

/** The empty first result of a set that was made ahead. No result has a leading dot. */
const SPARE_RESULT = '.spare'

export const BOOT_ID = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

export class ResultsStore {
  readonly #root: string
  readonly #files: StoreFiles
  readonly #sparesBound: number
  readonly #stored: StoredBytes
  readonly #evictions = new Set<Promise<void>>()
  readonly #spares: string[] = []
  #refilling: Promise<void> | undefined
  #temporaries = 0

  constructor(root: string, options: Partial<StoreOptions> = {}) {
    this.#root = root
    this.#files = options.files ?? DEFAULTS.files
    this.#sparesBound = options.spares ?? DEFAULTS.spares
    this.#stored = new StoredBytes(options.bytes ?? DEFAULTS.bytes, (folder) => this.#evict(folder))
  }

  /** Makes the store, and removes what an earlier process left half done. */
  async open(): Promise<void> {
    const incoming = path.join(this.#root, INCOMING)
    await this.#files.rm(incoming, { recursive: true, force: true })
    await this.#files.mkdir(incoming, { recursive: true, mode: 0o700 })
    this.#refill()
  }

  /** Resolves when nothing is written any more that nobody waits for. */
  async close(): Promise<void> {
    await this.#refilling
    await Promise.all(this.#evictions)
  }

  /** Whether the files of a set are where they were stored; somebody may have cleared the store. */
  has({ folder }: Pick<StoredSet, 'folder'>): boolean {
    this.#stored.use(folder)
    return existsSync(folder)
  }

  /**
   * Stores the results of a set whole or not at all; a RunError says why it could not. Sets that were
   * asked for longest ago make room; they are computed again when somebody asks.
   */
  async write(
    results: readonly RunResult[],
    describe: (results: readonly PublishedResult[]) => Manifest,
  ): Promise<StoredSet> {
    const sizeBytes = setBytes(results.map(byteCount))
    if (sizeBytes > this.#stored.bound)
      throw runError(
        'store',
        `the results take ${sizeBytes} bytes, and all results together may take ${this.#stored.bound}; emit less, or have the bound raised`,
      )
    if (!existsSync(path.join(this.#root, INCOMING))) await this.#makeAnew()
    const spare = this.#spares.pop()
    const incoming = spare ?? this.#temporary()
    try {
      if (spare === undefined) await this.#files.mkdir(incoming, { mode: 0o700 })
      const published = await writeResults(results, incoming, {
        files: this.#files,
        spare: spare && path.join(spare, SPARE_RESULT),
      })
      const manifest = describe(published)
      const folder = this.#folder(manifest.key, manifest.version)
      await this.#place(incoming, folder)
      this.#stored.add(folder, sizeBytes)
      return { folder, manifest }
    } catch (error) {
      await this.#files.rm(incoming, { recursive: true, force: true }).catch(() => undefined)
      throw storeError(error)
    } finally {
      this.#refill()
    }
  }

  /** From now on `load` finds the set, if it was not removed. Apart from `write`, as nobody should wait
   * for it; a set that is not kept is computed again after a restart. */
  async keep({ folder, manifest }: StoredSet): Promise<void> {
    const file = path.join(folder, MANIFEST_NAME)
    const text = encodeManifest(manifest)
    this.#stored.resize(folder, setBytes(manifest.results, text.length))
    try {
      await this.#files.writeFile(file, text, { mode: 0o600 })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  /** Somebody removed the store under us: what is computed from now on can be kept all the same. */
  async #makeAnew(): Promise<void> {
    this.#spares.length = 0
    await this.#files
      .mkdir(path.join(this.#root, INCOMING), { recursive: true, mode: 0o700 })
      .catch((error: unknown) => {
        throw storeError(error)
      })
  }

  async #place(incoming: string, folder: string): Promise<void> {
    try {
      await this.#files.rename(incoming, folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      // The directory's first set.
      await this.#files.mkdir(path.dirname(folder), { recursive: true, mode: 0o700 })
      await this.#files.rename(incoming, folder)
    }
  }

  #refill(): void {
    // A full disk is no reason to complain here: the next write says so to those whom it concerns.
    this.#refilling ??= sleep(TIDY_DELAY_MS)
      .then(() => this.#makeSpares())
      .catch(() => undefined)
      .finally(() => (this.#refilling = undefined))
  }

  async #makeSpares(): Promise<void> {
    while (this.#spares.length < this.#sparesBound) {
      const spare = this.#temporary()
      await this.#files.mkdir(spare, { mode: 0o700 })
      for (const name of [MANIFEST_NAME, SPARE_RESULT])
        await this.#files.writeFile(path.join(spare, name), '', { mode: 0o600 })
      this.#spares.push(spare)
    }
  }

  /** Versions that are there, newest first. */
  async versions(key: DirectoryKey): Promise<number[]> {
    const names = await this.#files.readdir(this.#directory(key)).catch(() => [])
    return names
      .map(Number)
      .filter((version) => Number.isSafeInteger(version))
      .toSorted((a, b) => b - a)
  }

  /** The set, if it is whole; bytes are compared if they were written before this boot. */
  async load(key: DirectoryKey, version: number): Promise<StoredSet | undefined> {
    const folder = this.#folder(key, version)
    const text = await this.#files
      .readFile(path.join(folder, MANIFEST_NAME), 'utf8')
      .catch(() => undefined)
    const manifest = text === undefined ? undefined : decodeManifest(text)
    if (manifest === undefined || manifest.key !== key || manifest.version !== version)
      return undefined
    if (manifest.bootId !== BOOT_ID)
      for (const result of manifest.results)
        if (!(await isWhole(path.join(folder, result.name), result, this.#files))) return undefined
    const sizeBytes = setBytes(manifest.results, text?.length)
    this.#stored.add(folder, Math.min(sizeBytes, this.#stored.bound))
    return { folder, manifest }
  }

  async remove(key: DirectoryKey, version: number): Promise<void> {
    const folder = this.#folder(key, version)
    this.#stored.remove(folder)
    await this.#discard(folder)
  }

  /** All sets of a directory. */
  async removeAll(key: DirectoryKey): Promise<void> {
    for (const version of await this.versions(key)) this.#stored.remove(this.#folder(key, version))
    await this.#discard(this.#directory(key))
  }

  /** Removes the sets of directories that are not among `keys`. */
  async removeOthers(keys: Iterable<DirectoryKey>): Promise<void> {
    const known = new Set([INCOMING])
    for (const key of keys) known.add(directoryName(key))
    for (const name of await this.#files.readdir(this.#root))
      if (!known.has(name)) await this.#discard(path.join(this.#root, name))
  }

  #evict(folder: string): void {
    // What cannot be removed now is an orphan that the next start removes, or a later version replaces.
    const eviction = this.#discard(folder)
      .catch(() => undefined)
      .finally(() => this.#evictions.delete(eviction))
    this.#evictions.add(eviction)
  }

  /** Gone from its place at once; the bytes follow. */
  async #discard(folder: string): Promise<void> {
    const away = this.#temporary()
    try {
      await this.#files.rename(folder, away)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    await this.#files.rm(away, { recursive: true, force: true })
  }

  #temporary(): string {
    this.#temporaries += 1
    return path.join(this.#root, INCOMING, String(this.#temporaries))
  }

  #directory(key: DirectoryKey): string {
    return path.join(this.#root, directoryName(key))
  }

  #folder(key: DirectoryKey, version: number): string {
    return path.join(this.#directory(key), String(version))
  }
}

function byteCount(result: RunResult): { sizeBytes: number } {
  return 'bytes' in result ? { sizeBytes: result.bytes.length } : result.spool
}

/** Keys may be longer than a file name can be, and may differ in case alone. */
function directoryName(key: DirectoryKey): string {
  return hash('sha256', key, 'hex').slice(0, 40)
}

function storeError(error: unknown): RunError {
  if (error instanceof RunError) return error
  const code = errnoOf(error)
  const { message } = error as Error
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? runError('store', `the results store is full: ${message}; free space, then look again`, {
        cause: error,
      })
    : runError('store', `the results store cannot be written: ${message}`, { cause: error })
}
