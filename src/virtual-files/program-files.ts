import { constants, read as readCallback } from 'node:fs'
import { promisify } from 'node:util'
import { VfsError } from '../errors.ts'
import type { DirectoryKey, Principal, VirtualAttributes } from '../file-server/types.ts'
import type { ByteBudget } from './byte-budget.ts'
import { opensForWriting, SnapshotFile, type OpenFile } from './open-file.ts'
import { ProgramWriter } from './program-writer.ts'
import { WrittenDirectory, type WrittenDirectoryOptions } from './written-directory.ts'

const readAt = promisify(readCallback)

export interface ProgramFilesOptions extends WrittenDirectoryOptions {
  readonly maxBytes: number
  readonly renameWaitMs: number
  readonly budget: ByteBudget
}

/**
 * `.compute` of every directory: who has it open for writing, and in which order what they wrote
 * becomes the program. Each directory's changes take effect one after the other, so that of two
 * writers the one that flushed last wins and nothing is mixed.
 */
export class ProgramFiles {
  readonly #options: ProgramFilesOptions
  /** Directories with an open writer or an unfinished change. */
  readonly #busy = new Map<DirectoryKey, WrittenDirectory>()

  constructor(options: ProgramFilesOptions) {
    this.#options = options
  }

  async open(
    directory: DirectoryKey,
    flags: number,
    created: boolean,
    principal: Principal,
  ): Promise<OpenFile> {
    const { compute, maxBytes } = this.#options
    const budget = this.#options.budget.of(principal.uid)
    const exists = this.#exists(directory)
    if (created && exists && (flags & constants.O_EXCL) !== 0)
      throw new VfsError('EEXIST', 'the directory has a program')
    // Gone since it was looked up: ESTALE makes the kernel look again.
    if (!created && !exists) throw new VfsError('ESTALE', 'the program was detached')
    const readable = (flags & constants.O_WRONLY) === 0
    const empty = !exists || (flags & constants.O_TRUNC) !== 0
    // Where the directory has an ACL the mode that the kernel checks lets everybody through.
    if (readable && !empty && !(await compute.mayReadProgram(directory, principal)))
      throw new VfsError('EACCES', 'who may read the directory may read its program')
    if (!opensForWriting(flags)) return new SnapshotFile(this.#content(directory), budget)

    await compute.mayAttach(directory, principal)
    const fresh = (created && !this.#exists(directory)) || (flags & constants.O_TRUNC) !== 0
    const content = fresh ? new Uint8Array(0) : this.#content(directory)
    return this.#written(directory).enter(
      (written) =>
        new ProgramWriter({ directory: written, principal, fresh, content, maxBytes, budget }),
    )
  }

  /** What a reader would get. */
  attributes(directory: DirectoryKey): VirtualAttributes {
    const entry = this.#options.compute.entry(directory)
    if (entry !== undefined) return { sizeBytes: entry.sizeBytes, mtimeNs: entry.mtimeNs }
    const writer = this.#busy.get(directory)?.latestWriter()
    if (writer === undefined) throw new VfsError('ESTALE', 'the program was detached')
    return { sizeBytes: writer.sizeBytes, mtimeNs: writer.mtimeNs }
  }

  /** truncate(2) by name. */
  async truncate(directory: DirectoryKey, sizeBytes: number, principal: Principal): Promise<void> {
    const writer = await this.open(directory, constants.O_WRONLY, false, principal)
    try {
      writer.truncate(sizeBytes)
      await writer.flush()
    } finally {
      writer.release()
    }
  }

  /** As on any file, who still has it open writes to something that nobody sees any more. */
  async unlink(directory: DirectoryKey, principal: Principal): Promise<void> {
    const { compute } = this.#options
    if (!this.#exists(directory)) throw new VfsError('ENOENT', 'the directory has no program')
    const written = this.#written(directory)
    await written.inTurn(async () => {
      if (compute.entry(directory) === undefined) await compute.mayAttach(directory, principal)
      else await compute.detach(directory, principal)
      written.orphanWriters()
    })
  }

  /**
   * rename(2) onto `.compute`. A program that does not compile is refused and everything stays as it
   * was; so the rename waits for the compiler, but not for long, because the kernel keeps the
   * directory locked meanwhile. After that it succeeds, and what comes out later is attached.
   */
  async renameOnto(
    directory: DirectoryKey,
    fd: number,
    sizeBytes: number,
    principal: Principal,
  ): Promise<void> {
    const { compute, maxBytes, renameWaitMs, log } = this.#options
    const source = await readWhole(fd, sizeBytes, maxBytes)
    await compute.mayAttach(directory, principal)
    const written = this.#written(directory)
    let waiting = true
    const staged = written.inTurn(async () => {
      if (source.byteLength === 0) await written.detach(written.changes, principal)
      else await written.stage(source, principal, { keepBroken: () => !waiting })
      written.orphanWriters()
    })
    const timer = Promise.withResolvers<void>()
    const timeout = setTimeout(() => {
      waiting = false
      timer.resolve()
    }, renameWaitMs)
    try {
      await Promise.race([staged, timer.promise])
    } finally {
      clearTimeout(timeout)
    }
    if (!waiting)
      staged.catch((error: unknown) =>
        log.warn({ directory, error }, 'a program renamed onto .compute was refused later'),
      )
  }

  /** The directory is gone, and with it what is being written there. */
  async forget(directory: DirectoryKey): Promise<void> {
    const written = this.#written(directory)
    await written.inTurn(async () => {
      written.orphanWriters()
      await this.#options.compute.forget(directory)
    })
  }

  /** Resolves when no change is under way. */
  async settled(): Promise<void> {
    await Promise.all([...this.#busy.values()].map((written) => written.settled()))
  }

  #exists(directory: DirectoryKey): boolean {
    if (this.#options.compute.entry(directory) !== undefined) return true
    return this.#busy.get(directory)?.latestWriter() !== undefined
  }

  #content(directory: DirectoryKey): Uint8Array {
    const source = this.#options.compute.source(directory)
    if (source !== undefined) return source
    return this.#busy.get(directory)?.latestWriter()?.content() ?? new Uint8Array(0)
  }

  #written(directory: DirectoryKey): WrittenDirectory {
    const known = this.#busy.get(directory)
    if (known !== undefined) return known
    const written = new WrittenDirectory(directory, this.#options, () => {
      // Orphaned writers of an earlier one may end later.
      if (this.#busy.get(directory) === written) this.#busy.delete(directory)
    })
    this.#busy.set(directory, written)
    return written
  }
}

/** @throws VfsError EFBIG over the bound. */
async function readWhole(fd: number, sizeBytes: number, maxBytes: number): Promise<Uint8Array> {
  const tooBig = new VfsError('EFBIG', `a program may have ${maxBytes} bytes, not more`)
  if (sizeBytes > maxBytes) throw tooBig
  // One byte more than it may have, so that a file which grows is noticed.
  const bytes = new Uint8Array(Math.min(sizeBytes, maxBytes) + 1)
  let length = 0
  while (length < bytes.byteLength) {
    const { bytesRead } = await readAt(fd, bytes, length, bytes.byteLength - length, length)
    if (bytesRead === 0) return bytes.subarray(0, length)
    length += bytesRead
  }
  throw sizeBytes === maxBytes
    ? tooBig
    : new VfsError('EAGAIN', 'the file grew while it was renamed: rename it again')
}
