/** The bytes of results: from a worker's messages and its spool into files, and back. */
import { createHash, hash, type Hash } from 'node:crypto'
import { close, read, renameSync, writeFileSync, type WriteFileOptions } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { PublishedResult } from '../file-server/types.ts'
import type { RunResult } from '../sandbox/types.ts'
import { runError } from './run-error.ts'

/** What is needed of the file system; tests make each call of it fail. */
export type StoreFiles = Pick<
  typeof fs,
  'mkdir' | 'open' | 'readFile' | 'readdir' | 'rename' | 'rm' | 'writeFile'
>

/** Into the page cache in some microseconds. */
const PROMPT_BYTES = 64 * 1024

/** Small writes and renames at once: a reader waits for them, and the way to a thread and back takes
 * ten times as long as they do. */
export const promptFiles: StoreFiles = {
  ...fs,
  writeFile: async (file, data, options) =>
    typeof file === 'string' && isPrompt(data)
      ? writeFileSync(file, data, options as WriteFileOptions)
      : fs.writeFile(file, data, options),
  rename: async (from, to) => renameSync(from, to),
}

function isPrompt(data: unknown): data is Uint8Array | string {
  return (data instanceof Uint8Array || typeof data === 'string') && data.length <= PROMPT_BYTES
}

type Spooled = Extract<RunResult, { spool: unknown }>

const readAt = promisify(read)
const closeFd = promisify(close)

/** Large enough that calls do not count, small enough to keep other requests waiting for under 1 ms. */
const COPY_BYTES = 512 * 1024
/** Files of one set written at a time: the rest of the process shares the same few threads. */
const WRITES_AT_ONCE = 2

const OWNER_ONLY = { flag: 'wx', mode: 0o600 }

/**
 * Copies results to files of their names in `folder`; sizes and etags are those of what was copied.
 * Nothing is written any more when this settles. `spare`: an empty file that may become one of the results,
 * and is gone in the end.
 */
export async function writeResults(
  results: readonly RunResult[],
  folder: string,
  options: {
    files?: StoreFiles
    spare?: string | undefined
  } = {},
): Promise<readonly PublishedResult[]> {
  const { files = fs, spare } = options
  checkNames(results)
  const published: PublishedResult[] = []
  for (const result of results)
    published.push(
      'bytes' in result
        ? measure(result.name, result.bytes)
        : await copySpooled(result, path.join(folder, result.name), files),
    )
  await writeInline(results, folder, files, spare)
  return published
}

/** The sandbox has checked them; they become paths here. */
function checkNames(results: readonly RunResult[]): void {
  const names = new Set<string>()
  for (const { name } of results) {
    if (!/^[^./\0][^/\0]*$/.test(name) || Buffer.byteLength(name) > 255 || names.has(name))
      throw runError('crashed', `${JSON.stringify(name)} cannot be the name of a result`)
    names.add(name)
  }
}

function measure(name: string, bytes: Uint8Array): PublishedResult {
  return { name, sizeBytes: bytes.length, etag: hash('sha256', bytes, 'hex') }
}

async function writeInline(
  results: readonly RunResult[],
  folder: string,
  files: StoreFiles,
  spare: string | undefined,
): Promise<void> {
  const inline = results.filter((result) => 'bytes' in result)
  const [first, ...others] = inline
  if (spare !== undefined && first === undefined) await files.rm(spare)
  else if (spare !== undefined && first !== undefined) {
    await files.writeFile(spare, first.bytes)
    await files.rename(spare, path.join(folder, first.name))
  }
  const rest = spare === undefined ? inline : others
  for (let start = 0; start < rest.length; start += WRITES_AT_ONCE) {
    const settled = await Promise.allSettled(
      rest
        .slice(start, start + WRITES_AT_ONCE)
        .map(({ name, bytes }) => files.writeFile(path.join(folder, name), bytes, OWNER_ONLY)),
    )
    for (const outcome of settled) if (outcome.status === 'rejected') throw outcome.reason
  }
}

async function copySpooled(
  { name, spool }: Spooled,
  file: string,
  files: StoreFiles,
): Promise<PublishedResult> {
  const hasher = createHash('sha256')
  const handle = await files.open(file, OWNER_ONLY.flag, OWNER_ONLY.mode)
  try {
    for await (const chunk of spoolChunks(spool, hasher)) await writeAll(handle, chunk)
  } finally {
    await handle.close()
  }
  return { name, sizeBytes: spool.sizeBytes, etag: hasher.digest('hex') }
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

/** Whether a stored result still has the bytes that it was stored with. */
export async function isWhole(
  file: string,
  result: PublishedResult,
  files: StoreFiles,
): Promise<boolean> {
  try {
    const handle = await files.open(file, 'r')
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
