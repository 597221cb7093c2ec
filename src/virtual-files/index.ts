/**
 * What is in a virtual file: answers the file server's requests on `.compute`, `.query`, the control
 * files, and looks at results that have to be made fresh first.
 */
import { constants } from 'node:fs'
import type { Compute } from '../compute/types.ts'
import { DEFAULT_VIRTUAL_FILE_LIMITS, type VirtualFileLimits } from '../config/limits.ts'
import { VfsError } from '../errors.ts'
import type {
  Caller,
  FileServer,
  Principal,
  VirtualAttributes,
  VirtualHandler,
  VirtualNode,
  VirtualReply,
  VirtualRequest,
} from '../file-server/types.ts'
import type { RunLimits } from '../sandbox/types.ts'
import { ByteBudget } from './byte-budget.ts'
import { ControlFiles } from './control-files.ts'
import { HandleTable, type OpenFile } from './open-file.ts'
import { ProgramFiles } from './program-files.ts'
import { QueryFile } from './query-file.ts'
import type { Log } from './written-directory.ts'

export interface VirtualFilesOptions {
  readonly compute: Compute
  readonly fileServer: Pick<FileServer, 'setProgram' | 'wake'>
  readonly limits: Pick<RunLimits, 'programBytes'> & Partial<VirtualFileLimits>
  readonly log: Log
}

export interface VirtualFiles {
  readonly handler: VirtualHandler
  /** Ends queries, and waits for programs that are being attached. */
  close(): Promise<void>
}

export function createVirtualFiles(options: VirtualFilesOptions): VirtualFiles {
  return new Files(options)
}

class Files implements VirtualFiles {
  readonly #options: VirtualFilesOptions
  readonly #limits: Pick<RunLimits, 'programBytes'> & VirtualFileLimits
  readonly #budget: ByteBudget
  readonly #handles: HandleTable
  readonly #programs: ProgramFiles
  readonly #controls: ControlFiles
  #closed = false

  constructor(options: VirtualFilesOptions) {
    const { compute, fileServer, log } = options
    this.#options = options
    this.#limits = { ...DEFAULT_VIRTUAL_FILE_LIMITS, ...options.limits }
    this.#budget = new ByteBudget(this.#limits.heldBytes, this.#limits.userHeldBytes)
    this.#handles = new HandleTable(this.#limits.handles, this.#limits.userHandles)
    this.#programs = new ProgramFiles({
      compute,
      fileServer,
      maxBytes: this.#limits.programBytes,
      renameWaitMs: this.#limits.renameWaitMs,
      budget: this.#budget,
      log,
    })
    this.#controls = new ControlFiles(compute, this.#budget)
  }

  readonly handler: VirtualHandler = async (request, signal) => {
    if (this.#closed) throw new VfsError('ENOTCONN', 'the mount is going away')
    switch (request.op) {
      case 'open':
        return this.#open(request)
      case 'read': {
        const { handle, offset, sizeBytes, nonBlocking } = request
        const file = this.#handles.get(handle)
        return { data: await file.read(offset, sizeBytes, nonBlocking, signal) }
      }
      case 'write': {
        const { handle, offset, data, append } = request
        await this.#handles.get(handle).write(offset, data, append)
        return { written: data.byteLength }
      }
      case 'flush':
        await this.#handles.get(request.handle).flush()
        return {}
      case 'release':
        this.#handles.release(request.handle)
        return {}
      case 'poll':
        return this.#handles.get(request.handle).poll(request.forReading)
      case 'getattr':
        return { attributes: this.#attributes(request.node) }
      case 'truncate':
        await this.#truncate(request)
        return {}
      case 'unlink':
        await this.#programs.unlink(request.directory, principalOf(request.caller))
        return {}
      case 'rename-onto': {
        const { directory, fd, sizeBytes, caller } = request
        await this.#programs.renameOnto(directory, fd, sizeBytes, principalOf(caller))
        return {}
      }
      case 'resolve':
        await this.#options.compute.resolve(request.directory, signal)
        return {}
      case 'forget-directory':
        await this.#programs.forget(request.directory)
        return {}
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#handles.releaseAll()
    await this.#programs.settled()
  }

  async #open(request: Extract<VirtualRequest, { op: 'open' }>): Promise<VirtualReply> {
    const [handle, file] = await this.#handles.add(request.caller.uid, (id) =>
      this.#openFile(request, id),
    )
    return { handle, stream: file.stream }
  }

  async #openFile(
    request: Extract<VirtualRequest, { op: 'open' }>,
    handle: number,
  ): Promise<OpenFile> {
    const { node, flags, created, caller } = request
    const principal = principalOf(caller)
    switch (node.kind) {
      case 'compute':
        return this.#programs.open(node.directory, flags, created, principal)
      case 'control':
        return this.#controls.open(node.directory, node.name, flags, principal)
      case 'query':
        if ((flags & constants.O_RDWR) === 0)
          throw new VfsError('EINVAL', 'open .query for reading and writing: exec 3<>.query')
        return new QueryFile({
          compute: this.#options.compute,
          directory: node.directory,
          principal,
          maxBytes: this.#limits.programBytes,
          budget: this.#budget.of(principal.uid),
          wake: () => this.#options.fileServer.wake(handle),
        })
    }
  }

  #attributes(node: VirtualNode): VirtualAttributes {
    switch (node.kind) {
      case 'compute':
        return this.#programs.attributes(node.directory)
      case 'control':
        return this.#controls.attributes(node.directory, node.name)
      case 'query':
        return { sizeBytes: 0, mtimeNs: 0n }
    }
  }

  async #truncate(request: Extract<VirtualRequest, { op: 'truncate' }>): Promise<void> {
    const { node, handle, sizeBytes, caller } = request
    if (handle !== undefined) this.#handles.get(handle).truncate(sizeBytes)
    else if (node.kind === 'compute')
      await this.#programs.truncate(node.directory, sizeBytes, principalOf(caller))
    // The others have no content that could be cut; `echo rerun > .control` truncates first.
  }
}

function principalOf({ uid, gid, groups }: Caller): Principal {
  return { uid, gid, groups }
}
