/**
 * Finished sets of results on disk: `ROOT/DIRECTORY/VERSION/` holds the files under their names and
 * a manifest. A set is built in `ROOT/.incoming` and renamed into place, so a folder that has a
 * version for a name is complete, whenever this process was killed.
 *
 * Nothing is synced: a loss of power may leave a complete folder with missing bytes, so what was
 * stored before the last boot is checked against its sizes and etags before it is served.
 */
import { createHash, hash, type Hash } from 'node:crypto'
import { close, read, readFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { DirectoryKey, PublishedResult } from '../file-server/types.ts'
import type { RunResult } from '../sandbox/types.ts'
import { decodeManifest, encodeManifest, MANIFEST_NAME, type Manifest } from './manifest.ts'
import { runError, RunError } from './run-error.ts'

/** What the store needs of the file system; tests make each call of it fail. */
export type StoreFiles = Pick<
  typeof fs,
  'mkdir' | 'open' | 'readFile' | 'readdir' | 'rename' | 'rm' | 'writeFile'
>

export interface StoredSet {
  readonly folder: string
  readonly manifest: Manifest
}

const readAt = promisify(read)
const closeFd = promisify(close)

const INCOMING = '.incoming'
/** Large enough that calls do not count, small enough to keep other requests waiting for under 1 ms. */
const COPY_BYTES = 512 * 1024
/** Files of one set written at a time: the rest of the process shares the same few threads. */
const WRITES_AT_ONCE = 2

export const BOOT_ID = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

export class ResultsStore {
  readonly #root: string
  readonly #files: StoreFiles
  #temporaries = 0

  constructor(root: string, files: StoreFiles = fs) {
    this.#root = root
    this.#files = files
  }

  /** Makes the store, and removes what an earlier process left half done. */
  async open(): Promise<void> {
    const incoming = path.join(this.#root, INCOMING)
    await this.#files.rm(incoming, { recursive: true, force: true })
    await this.#files.mkdir(incoming, { recursive: true, mode: 0o700 })
  }

  /** Stores a set whole or not at all; a RunError says why it could not. */
  async write(
    results: readonly RunResult[],
    describe: (results: readonly PublishedResult[]) => Promise<Manifest>,
  ): Promise<StoredSet> {
    const incoming = this.#temporary()
    try {
      await this.#files.mkdir(incoming, { mode: 0o700 })
      const published = await writeResults(results, incoming, this.#files)
      const manifest = await describe(published)
      await this.#files.writeFile(path.join(incoming, MANIFEST_NAME), encodeManifest(manifest))
      const folder = this.#folder(manifest.key, manifest.version)
      await this.#place(incoming, folder)
      return { folder, manifest }
    } catch (error) {
      await this.#files.rm(incoming, { recursive: true, force: true }).catch(() => undefined)
      throw storeError(error)
    }
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
        if (!(await this.#isWhole(path.join(folder, result.name), result))) return undefined
    return { folder, manifest }
  }

  async #isWhole(file: string, result: PublishedResult): Promise<boolean> {
    try {
      const handle = await this.#files.open(file, 'r')
      try {
        const hasher = createHash('sha256')
        const buffer = Buffer.allocUnsafe(COPY_BYTES)
        let sizeBytes = 0
        for (;;) {
          const { bytesRead } = await handle.read(buffer, 0, buffer.length, null)
          if (bytesRead === 0) break
          hasher.update(buffer.subarray(0, bytesRead))
          sizeBytes += bytesRead
        }
        return sizeBytes === result.sizeBytes && hasher.digest('hex') === result.etag
      } finally {
        await handle.close()
      }
    } catch {
      return false
    }
  }

  async remove(key: DirectoryKey, version: number): Promise<void> {
    await this.#discard(this.#folder(key, version))
  }

  /** All sets of a directory. */
  async removeAll(key: DirectoryKey): Promise<void> {
    await this.#discard(this.#directory(key))
  }

  /** Removes the sets of directories that are not among `keys`. */
  async removeOthers(keys: Iterable<DirectoryKey>): Promise<void> {
    const known = new Set([INCOMING])
    for (const key of keys) known.add(directoryName(key))
    for (const name of await this.#files.readdir(this.#root))
      if (!known.has(name)) await this.#discard(path.join(this.#root, name))
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

/** Keys may be longer than a file name can be, and may differ in case alone. */
function directoryName(key: DirectoryKey): string {
  return hash('sha256', key, 'hex').slice(0, 40)
}

/** Copies results to files of their names in `folder`; sizes are those of what was copied. */
export async function writeResults(
  results: readonly RunResult[],
  folder: string,
  files: StoreFiles = fs,
): Promise<PublishedResult[]> {
  const published: PublishedResult[] = []
  for (let start = 0; start < results.length; start += WRITES_AT_ONCE) {
    const writes = results
      .slice(start, start + WRITES_AT_ONCE)
      .map((result) => writeResult(result, path.join(folder, result.name), files))
    // Nothing may still be written when the caller removes the folder.
    const settled = await Promise.allSettled(writes)
    for (const outcome of settled) {
      if (outcome.status === 'rejected') throw outcome.reason
      published.push(outcome.value)
    }
  }
  return published
}

async function writeResult(
  result: RunResult,
  file: string,
  files: StoreFiles,
): Promise<PublishedResult> {
  const { name } = result
  if ('bytes' in result) {
    await files.writeFile(file, result.bytes, { flag: 'wx', mode: 0o600 })
    return { name, sizeBytes: result.bytes.length, etag: hash('sha256', result.bytes, 'hex') }
  }
  const hasher = createHash('sha256')
  const handle = await files.open(file, 'wx', 0o600)
  try {
    for await (const chunk of spoolChunks(result.spool, hasher)) await writeAll(handle, chunk)
  } finally {
    await handle.close()
  }
  return { name, sizeBytes: result.spool.sizeBytes, etag: hasher.digest('hex') }
}

async function writeAll(handle: fs.FileHandle, bytes: Uint8Array): Promise<void> {
  // One call may write less than it was given when the disk is nearly full.
  for (let done = 0; done < bytes.length;)
    done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten
}

/** The worker may still change its spool: only what was read here, once, counts. */
async function* spoolChunks(
  spool: { fd: number; offset: number; sizeBytes: number },
  hasher?: Hash,
): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(Math.min(COPY_BYTES, spool.sizeBytes))
  for (let done = 0; done < spool.sizeBytes;) {
    const wantedBytes = Math.min(buffer.length, spool.sizeBytes - done)
    const { bytesRead } = await readAt(spool.fd, buffer, 0, wantedBytes, spool.offset + done)
    if (bytesRead === 0)
      throw runError('crashed', 'the worker wrote less of a result than it said; run it again')
    const chunk = buffer.subarray(0, bytesRead)
    hasher?.update(chunk)
    yield chunk
    done += bytesRead
  }
}

/** One result's bytes in memory. */
export async function readResult(result: RunResult): Promise<Uint8Array> {
  if ('bytes' in result) return result.bytes
  const whole = Buffer.allocUnsafe(result.spool.sizeBytes)
  let done = 0
  for await (const chunk of spoolChunks(result.spool)) {
    whole.set(chunk, done)
    done += chunk.length
  }
  return whole
}

/** To be called once for every outcome that is ok. */
export async function releaseSpool(outcome: { readonly spoolFd: number | undefined }) {
  if (outcome.spoolFd !== undefined) await closeFd(outcome.spoolFd)
}

function storeError(error: unknown): RunError {
  if (error instanceof RunError) return error
  const { code, message } = error as NodeJS.ErrnoException
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? runError('store', `the results store is full: ${message}; free space, then look again`, {
        cause: error,
      })
    : runError('store', `the results store cannot be written: ${message}`, { cause: error })
}
