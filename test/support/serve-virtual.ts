/**
 * The child of virtual-mount.ts: a mount whose virtual files are a toy. A program is lines of
 * `RESULT=INPUT`; each result is a copy of that input, and is left out when there is no such file. A
 * program that begins with `bad` does not compile; a query that begins with `slow` is answered after a
 * while. The parent steers it by messages.
 */
import { closeSync, mkdirSync, readSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { VfsError } from '../../src/errors.ts'
import { mountFuseNative } from '../../src/file-server/fuse-native/server.ts'
import { mountNative } from '../../src/file-server/native.ts'
import type {
  DirectoryKey,
  InputSession,
  PublishedSet,
  VirtualHandler,
  VirtualReply,
  VirtualRequest,
} from '../../src/file-server/types.ts'
import { FILE_SERVER } from './file-server.ts'
import type { ToyCommand, ToyOptions } from './virtual-mount.ts'

const [backing = '', mountPoint = '', store = '', json = '{}'] = process.argv.slice(2)
const options = JSON.parse(json) as ToyOptions

interface Program {
  source: Buffer
  version: number
  uid: number
  gid: number
  last: PublishedSet | undefined
}
interface Open {
  key: DirectoryKey
  kind: 'compute' | 'query' | 'control'
  content: Buffer
  dirty: boolean
  /** Of a query: what was asked is answered. */
  answer: Buffer | undefined
  uid: number
  gid: number
}

const programs = new Map<DirectoryKey, Program>()
const opens = new Map<number, Open>()
const seen: string[] = []
let runs = 0
let lastHandle = 0
let behaviour: ToyCommand['resolve'] = 'run'
let resultMode = 0o444
let withdrawals = 0
let held = Promise.withResolvers<void>()

const mount = FILE_SERVER === 'native' ? mountNative : mountFuseNative
const server = await mount({
  backing,
  mountPoint,
  exclusive: options.exclusive ?? false,
  allowOther: FILE_SERVER === 'native',
  listReserved: false,
  sharedBacking: false,
  reserved: { compute: '.compute', results: '.results', query: '.query' },
  handler: (request, signal) => handle(request, signal),
  onNotice: (notice) => seen.push(JSON.stringify(notice)),
})

function tell(key: DirectoryKey, writing: boolean): void {
  const program = programs.get(key)
  server.setProgram(
    key,
    program && {
      sizeBytes: program.source.length,
      mtimeNs: 1_700_000_000_000_000_000n,
      principal: { uid: program.uid, gid: program.gid },
      writing,
    },
  )
}

function attach(key: DirectoryKey, source: Buffer, uid: number, gid: number): void {
  if (source.toString().startsWith('bad')) throw new VfsError('ENOEXEC', 'does not compile')
  const before = programs.get(key)
  programs.set(key, { source, version: before?.version ?? 0, uid, gid, last: before?.last })
  tell(key, false)
}

async function run(key: DirectoryKey): Promise<void> {
  const program = programs.get(key)
  if (program === undefined) throw new VfsError('ENOENT', 'no program')
  runs += 1
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const inputs = await server.volume.inputs(key, {
      uid: program.uid,
      gid: program.gid,
      groups: [],
    })
    const set = await compute(program, inputs)
    if (!(await inputs.validate('end')).holds) continue
    server.publish(key, { current: set, last: set })
    program.last = set
    return
  }
  throw new VfsError('EAGAIN', 'the inputs change all the time')
}

async function compute(program: Program, inputs: InputSession): Promise<PublishedSet> {
  program.version += 1
  const folder = path.join(store, `${++folders}`)
  mkdirSync(folder)
  const results: PublishedSet['results'][number][] = []
  for (const line of program.source.toString().split('\n')) {
    const [name = '', input] = line.split('=')
    if (input === undefined) continue
    const opened = await inputs.open(input).catch(() => undefined)
    if (opened === undefined) continue
    const content = Buffer.alloc(opened.sizeBytes)
    const size = readSync(opened.fd, content, 0, content.length, 0)
    closeSync(opened.fd)
    writeFileSync(path.join(folder, name), content.subarray(0, size))
    results.push({ name, sizeBytes: size, etag: `etag-${name}-${size}` })
  }
  return {
    version: program.version,
    folder,
    results,
    mtimeNs: BigInt(Date.now()) * 1_000_000n,
    uid: program.uid,
    gid: program.gid,
    mode: resultMode,
    xattrs: { program: 'toy' },
    inputs,
  }
}
let folders = 0

const handle: VirtualHandler = async (request, signal) => {
  seen.push(request.op)
  signal.addEventListener('abort', () => seen.push(`${request.op} aborted`))
  switch (request.op) {
    case 'open':
      return open(request)
    case 'read':
      return read(request)
    case 'write':
      return write(request)
    case 'flush': {
      const file = opened(request.handle)
      if (file.kind !== 'compute' || !file.dirty) return {}
      file.dirty = false
      attach(file.key, file.content, file.uid, file.gid)
      return {}
    }
    case 'release':
      opens.delete(request.handle)
      return {}
    case 'getattr':
      return { attributes: { sizeBytes: contentOf(request.node).length, mtimeNs: 1n } }
    case 'truncate': {
      const file = request.handle === undefined ? undefined : opens.get(request.handle)
      if (file) file.content = file.content.subarray(0, request.sizeBytes)
      return {}
    }
    case 'unlink':
      programs.delete(request.directory)
      server.setProgram(request.directory, undefined)
      return {}
    case 'rename-onto': {
      const source = Buffer.alloc(request.sizeBytes)
      readSync(request.fd, source, 0, source.length, 0)
      attach(request.directory, source, request.caller.uid, request.caller.gid)
      return {}
    }
    case 'resolve':
      if (behaviour === 'hold') {
        const aborted = new Promise<never>((_, reject) => {
          signal.addEventListener('abort', () => reject(new VfsError('EINTR', 'aborted')))
        })
        await Promise.race([held.promise, aborted])
      }
      if (behaviour === 'fail') throw new VfsError('EIO', 'the program failed')
      await run(request.directory)
      if (withdrawals > 0) {
        withdrawals -= 1
        server.publish(request.directory, { current: undefined, last: undefined })
      }
      return {}
    case 'poll': {
      const file = opened(request.handle)
      const slow = file.content.toString().startsWith('slow') && file.answer === undefined
      if (request.forReading && slow) {
        setTimeout(() => {
          file.answer = Buffer.from('AT LAST')
          server.wake(request.handle)
        }, 200)
      } else if (request.forReading)
        file.answer ??= Buffer.from(file.content.toString().toUpperCase())
      return { readable: file.answer !== undefined, writable: true }
    }
    case 'forget-directory':
      programs.delete(request.directory)
      return {}
  }
}

function contentOf(node: Extract<VirtualRequest, { op: 'open' }>['node']): Buffer {
  if (node.kind === 'control') return Buffer.from(`${node.name} of the toy\n`)
  if (node.kind === 'query') return Buffer.alloc(0)
  return programs.get(node.directory)?.source ?? Buffer.alloc(0)
}

function open({
  node,
  created,
  flags,
  caller,
}: Extract<VirtualRequest, { op: 'open' }>): VirtualReply {
  const key = node.directory
  seen.push(`opened by ${caller.uid}:${caller.gid}:${caller.groups.join(',')}`)
  lastHandle += 1
  const truncated = created || (flags & 0o1000) !== 0
  opens.set(lastHandle, {
    key,
    kind: node.kind,
    content: truncated ? Buffer.alloc(0) : contentOf(node),
    dirty: false,
    answer: undefined,
    uid: caller.uid,
    gid: caller.gid,
  })
  if (node.kind === 'compute' && created && !programs.has(key)) {
    programs.set(key, {
      source: Buffer.alloc(0),
      version: 0,
      uid: caller.uid,
      gid: caller.gid,
      last: undefined,
    })
    tell(key, true)
  }
  return { handle: lastHandle, stream: node.kind === 'query' }
}

function opened(number: number): Open {
  const file = opens.get(number)
  if (file === undefined) throw new VfsError('EBADF', 'no such handle')
  return file
}

function read(request: Extract<VirtualRequest, { op: 'read' }>): VirtualReply {
  const file = opened(request.handle)
  if (file.kind !== 'query')
    return { data: file.content.subarray(request.offset, request.offset + request.sizeBytes) }
  if (request.nonBlocking && file.answer === undefined) throw new VfsError('EAGAIN', 'not yet')
  file.answer ??= Buffer.from(file.content.toString().toUpperCase())
  const data = file.answer.subarray(0, request.sizeBytes)
  file.answer = file.answer.subarray(data.length)
  return { data }
}

function write(request: Extract<VirtualRequest, { op: 'write' }>): VirtualReply {
  const file = opened(request.handle)
  const offset = file.kind === 'query' || request.append ? file.content.length : request.offset
  const end = Math.max(file.content.length, offset + request.data.length)
  const next = Buffer.alloc(end)
  file.content.copy(next)
  next.set(request.data, offset)
  file.content = next
  file.dirty = true
  return { written: request.data.length }
}

process.on('message', (message: ToyCommand & { id: number }) => {
  void command(message).then(
    (result) => process.send?.({ id: message.id, result }),
    (error: unknown) => process.send?.({ id: message.id, error: String(error) }),
  )
})

async function command(message: ToyCommand): Promise<unknown> {
  if (message.mode !== undefined) resultMode = message.mode
  if (message.resolve !== undefined) {
    behaviour = message.resolve
    held.resolve()
    held = Promise.withResolvers()
  }
  withdrawals = message.withdraw ?? withdrawals
  const at = message.at ?? ''
  if (message.program !== undefined)
    attach(await server.volume.keyOf(at), Buffer.from(message.program), 0, 0)
  if (message.detach) {
    const key = await server.volume.keyOf(at)
    programs.delete(key)
    server.setProgram(key, undefined)
  }
  if (message.run) await run(await server.volume.keyOf(at))
  if (message.sweep) {
    rmSync(programs.get(await server.volume.keyOf(at))?.last?.folder ?? '/nonexistent', {
      recursive: true,
    })
  }
  if (message.source) return programs.get(await server.volume.keyOf(at))?.source.toString()
  return { seen: seen.splice(0), runs, handles: opens.size, statistics: server.statistics() }
}

process.send?.({ id: 0 })
process.on('disconnect', () => void server.unmount().then(() => process.exit(0)))
