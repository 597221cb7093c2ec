/** Speaks to the virtual files as the file server does, in terms of open, write and close. */
import { constants } from 'node:fs'
import type { VirtualFileLimits } from '../../src/config/limits.ts'
import { createVirtualFiles, type VirtualFiles } from '../../src/virtual-files/index.ts'
import type {
  Caller,
  ControlName,
  ProgramEntry,
  VirtualNode,
  VirtualReply,
  VirtualRequest,
} from '../../src/file-server/types.ts'
import { FakeCompute } from './fake-compute.ts'

export const DIRECTORY = 'd1'
export const PROGRAM: VirtualNode = { kind: 'compute', directory: DIRECTORY }
export const ALICE: Caller = { uid: 1001, gid: 1001, groups: [50], pid: 7 }
export const BOB: Caller = { uid: 1002, gid: 1002, groups: [], pid: 8 }

const { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND } = constants
export const CREATE = O_WRONLY | O_CREAT | O_TRUNC
export const APPEND = O_WRONLY | O_CREAT | O_APPEND

export class VirtualShell {
  readonly compute: FakeCompute
  readonly files: VirtualFiles
  /** What the file server would answer a lookup of `.compute` with. */
  entry: ProgramEntry | undefined
  readonly woken: number[] = []
  readonly warnings: string[] = []

  constructor(limits: Partial<VirtualFileLimits> = {}) {
    const setProgram = (_directory: string, entry: ProgramEntry | undefined): void => {
      this.entry = entry
    }
    this.compute = new FakeCompute(setProgram)
    this.files = createVirtualFiles({
      compute: this.compute,
      fileServer: { setProgram, wake: (handle) => this.woken.push(handle) },
      limits: { programBytes: 100, ...limits },
      log: { warn: (_fields, message) => this.warnings.push(message) },
    })
  }

  ask(request: VirtualRequest, signal = new AbortController().signal): Promise<VirtualReply> {
    return this.files.handler(request, signal)
  }

  async open(
    flags: number,
    { caller = ALICE, node = PROGRAM }: { caller?: Caller; node?: VirtualNode } = {},
  ): Promise<number> {
    const created = node.kind === 'compute' && (flags & O_CREAT) !== 0 && this.entry === undefined
    const { handle } = await this.ask({ op: 'open', node, flags, created, caller })
    if (handle === undefined) throw new Error('the open gave no handle')
    return handle
  }

  openControl(name: ControlName, flags = 0): Promise<number> {
    return this.open(flags, { node: { kind: 'control', directory: DIRECTORY, name } })
  }

  openQuery(flags = O_RDWR): Promise<number> {
    return this.open(flags, { node: { kind: 'query', directory: DIRECTORY } })
  }

  async write(handle: number, text: string, offset = 0, append = false): Promise<void> {
    await this.ask({ op: 'write', handle, offset, data: Buffer.from(text), append })
  }

  async read(handle: number, { nonBlocking = false, offset = 0 } = {}): Promise<string> {
    const reply = await this.ask({ op: 'read', handle, offset, sizeBytes: 4096, nonBlocking })
    return Buffer.from(reply.data ?? []).toString()
  }

  flush(handle: number): Promise<VirtualReply> {
    return this.ask({ op: 'flush', handle })
  }

  /** The last close: a flush, whose error is the caller's, and a release. */
  async close(handle: number): Promise<void> {
    try {
      await this.flush(handle)
    } finally {
      await this.release(handle)
    }
  }

  async release(handle: number): Promise<void> {
    await this.ask({ op: 'release', handle })
    await settle()
  }

  truncate(handle: number | undefined, sizeBytes: number): Promise<VirtualReply> {
    return this.ask({ op: 'truncate', node: PROGRAM, handle, sizeBytes, caller: ALICE })
  }

  unlink(): Promise<VirtualReply> {
    return this.ask({ op: 'unlink', directory: DIRECTORY, caller: ALICE })
  }

  async attach(text: string, caller = ALICE): Promise<void> {
    const handle = await this.open(CREATE, { caller })
    await this.write(handle, text)
    await this.close(handle)
    this.compute.calls.length = 0
  }

  /** The attached program's text. */
  get program(): string | undefined {
    const source = this.compute.source(DIRECTORY)
    return source === undefined ? undefined : Buffer.from(source).toString()
  }
}

/** Lets everything that waits for nothing outside run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'ok'
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}
