/**
 * `.query` without streams. To FUSE 2.9 every file has offsets and a size, and one size for all who
 * have it open. So a conversation is a file that grows: question, answer, question, answer. Reader and
 * writer share one offset, as on the native file server: after a question it stands where the answer
 * begins, and the kernel, about to read past the end, asks for the size first. That is where the
 * question is run. Only one conversation a directory can be held at a time: two would share a size.
 */
import { VfsError } from '../../errors.ts'
import type { Attributes } from './attributes.ts'
import type { OpenFile } from './open-files.ts'

/** What is kept, question and answer together; one answer of the largest size fits. */
const MAX_BYTES = 512 * 1024 * 1024

export interface Asked {
  write(data: Uint8Array): Promise<void>
  /** More of the answer; empty at its end. */
  read(): Promise<Uint8Array>
  release(): void
}

export class Conversation implements OpenFile {
  readonly #asked: Asked
  readonly #describe: (sizeBytes: number) => Attributes
  readonly #onRelease: () => void
  #transcript = Buffer.alloc(0)
  /** Something was written since the last answer. */
  #pending = false
  #collecting: Promise<void> | undefined

  constructor(asked: Asked, describe: (sizeBytes: number) => Attributes, onRelease: () => void) {
    this.#asked = asked
    this.#describe = describe
    this.#onRelease = onRelease
  }

  get sizeBytes(): number {
    return this.#transcript.byteLength
  }

  async attributes(): Promise<Attributes> {
    await this.#answer()
    return this.#describe(this.sizeBytes)
  }

  /** Pages begin before the offset that is read from. */
  async read(into: Buffer, offset: number): Promise<number> {
    if (offset + into.byteLength > this.sizeBytes) await this.#answer()
    return this.#transcript.copy(into, 0, Math.min(offset, this.sizeBytes))
  }

  async write(data: Buffer, offset: number): Promise<number> {
    if (offset > this.sizeBytes)
      throw new VfsError('ESPIPE', 'a question begins where the answer before it ended')
    const copy = Buffer.from(data)
    await this.#asked.write(copy)
    // What nobody read of the answer before is dropped.
    this.#transcript = this.#transcript.subarray(0, offset)
    this.#append([copy])
    this.#pending = true
    return copy.byteLength
  }

  flush(): void {}
  sync(): void {}
  /** `exec 3> .query` empties what is empty. */
  truncate(): void {}

  release(): void {
    this.#asked.release()
    this.#onRelease()
  }

  async #answer(): Promise<void> {
    if (!this.#pending) return
    this.#collecting ??= this.#collect().finally(() => (this.#collecting = undefined))
    await this.#collecting
  }

  async #collect(): Promise<void> {
    const parts: Uint8Array[] = []
    for (;;) {
      // A failed question fails one read; the ones after that give the message.
      const part = await this.#asked.read()
      if (part.byteLength === 0) break
      parts.push(part)
    }
    this.#append(parts)
    this.#pending = false
  }

  #append(parts: readonly Uint8Array[]): void {
    const sizeBytes = parts.reduce((sum, part) => sum + part.byteLength, this.sizeBytes)
    if (sizeBytes > MAX_BYTES)
      throw new VfsError('EFBIG', 'the conversation is too long: close it and begin another')
    this.#transcript = Buffer.concat([this.#transcript, ...parts], sizeBytes)
  }
}
