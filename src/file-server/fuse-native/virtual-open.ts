/** Open virtual files: what is asked of them goes to the handler above. */
import { closeSync, read } from 'node:fs'
import { promisify } from 'node:util'
import { VfsError } from '../../errors.ts'
import type { VirtualHandler } from '../types.ts'
import type { Attributes } from './attributes.ts'
import type { Awaitable, OpenFile } from './open-files.ts'
import type { Waits } from './waits.ts'

const readAt = promisify(read)
const NEVER = new AbortController().signal

/** An open `.compute` or control file. */
export class HandledFile implements OpenFile {
  readonly #handler: VirtualHandler
  readonly #waits: Waits
  readonly #handle: number
  readonly #appending: boolean
  readonly #describe: () => Promise<Attributes>

  constructor(
    handler: VirtualHandler,
    waits: Waits,
    handle: number,
    appending: boolean,
    describe: () => Promise<Attributes>,
  ) {
    this.#handler = handler
    this.#waits = waits
    this.#handle = handle
    this.#appending = appending
    this.#describe = describe
  }

  attributes(): Promise<Attributes> {
    return this.#describe()
  }

  async read(into: Buffer, offset: number): Promise<number> {
    const sizeBytes = into.byteLength
    const { data } = await this.#waits.bounded((signal) =>
      this.#handler(
        { op: 'read', handle: this.#handle, offset, sizeBytes, nonBlocking: false },
        signal,
      ),
    )
    into.set(data ?? [])
    return data?.byteLength ?? 0
  }

  async write(data: Buffer, offset: number): Promise<number> {
    // The memory is libfuse's; what is kept of it would be somebody else's soon.
    const copy = Uint8Array.from(data)
    const append = this.#appending
    const { written } = await this.#waits.bounded((signal) =>
      this.#handler({ op: 'write', handle: this.#handle, offset, data: copy, append }, signal),
    )
    return written ?? 0
  }

  async flush(): Promise<void> {
    await this.#waits.bounded((signal) =>
      this.#handler({ op: 'flush', handle: this.#handle }, signal),
    )
  }

  sync(): void {}

  async truncate(sizeBytes: number): Promise<void> {
    // Which node it is of the handler sees by the handle.
    const node = { kind: 'compute', directory: '' } as const
    const caller = { uid: 0, gid: 0, groups: [], pid: 0 }
    await this.#handler({ op: 'truncate', node, handle: this.#handle, sizeBytes, caller }, NEVER)
  }

  release(): void {
    // Its reply means nothing, and its failure nothing to anybody.
    this.#handler({ op: 'release', handle: this.#handle }, NEVER).catch(() => {})
  }
}

/** One version of a result; it never changes. */
export class ResultFile implements OpenFile {
  readonly #fd: number
  readonly #attributes: Attributes

  constructor(fd: number, attributes: Attributes) {
    this.#fd = fd
    this.#attributes = attributes
  }

  attributes(): Attributes {
    return this.#attributes
  }

  async read(into: Buffer, offset: number): Promise<number> {
    return (await readAt(this.#fd, into, 0, into.byteLength, offset)).bytesRead
  }

  write(): Awaitable<number> {
    throw new VfsError('EBADF', 'results are only read')
  }

  flush(): void {}
  sync(): void {}

  truncate(): void {
    throw new VfsError('EACCES', 'results are only read')
  }

  release(): void {
    closeSync(this.#fd)
  }
}
