/**
 * Mounts the model without an addon, says so, and serves until its standard input ends:
 * `serve.ts MOUNTPOINT`. One request at a time, each answered before the next is read.
 */
import { execFileSync, spawn } from 'node:child_process'
import { closeSync, constants, openSync, read, writeSync } from 'node:fs'
import os from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { errnoOf, VfsError } from '../../../src/errors.ts'
import { isLink, Model, type Changes, type Node } from './model.ts'
import {
  attrOut,
  dirent,
  entryOut,
  initOut,
  MAX_WRITE_BYTES,
  openOut,
  replyTo,
  Request,
  SET,
  SILENT,
  statfsOut,
  writeOut,
  type Operation,
} from './wire.ts'

const { O_TRUNC, S_IFDIR, S_IFLNK } = constants
const [mountPoint = ''] = process.argv.slice(2)
const model = new Model()
/** Files and directories that are open, a directory with its listing as it was then. */
const handles = new Map<number, { readonly node: Node; readonly listing: [string, Node][] }>()
let lastHandle = 0
const NOTHING = Buffer.alloc(0)

const answer: Record<Operation, (request: Request, node: Node) => Buffer> = {
  init: () => initOut(),
  lookup: (request, node) => entryOut(model.lookup(node, request.names(0)[0] ?? '')),
  getattr: (_, node) => attrOut(node),
  setattr: (request, node) => {
    model.set(node, changesOf(request))
    return attrOut(node)
  },
  readlink: (_, node) => {
    if (!isLink(node)) throw new VfsError('EINVAL', 'not a link')
    return node.content
  },
  symlink: (request, node) => {
    const [name = '', target = ''] = request.names(0)
    return entryOut(model.create(node, name, S_IFLNK | 0o777, request, target))
  },
  mknod: (request, node) =>
    entryOut(model.create(node, request.names(16)[0] ?? '', request.u32(0), request)),
  mkdir: (request, node) => {
    const mode = S_IFDIR | request.u32(0)
    return entryOut(model.create(node, request.names(8)[0] ?? '', mode, request))
  },
  unlink: (request, node) => {
    model.unlink(node, request.names(0)[0] ?? '')
    return NOTHING
  },
  rmdir: (request, node) => {
    model.rmdir(node, request.names(0)[0] ?? '')
    return NOTHING
  },
  rename: (request, node) => {
    const [from = '', to = ''] = request.names(8)
    model.rename(node, from, model.node(request.u64(0)), to)
    return NOTHING
  },
  link: (request, node) => {
    const target = model.node(request.u64(0))
    model.link(target, node, request.names(8)[0] ?? '')
    return entryOut(target)
  },
  open: (request, node) => {
    if ((request.u32(0) & O_TRUNC) !== 0) model.set(node, { sizeBytes: 0 })
    return openOut(opened(node))
  },
  create: (request, node) => {
    const name = request.names(16)[0] ?? ''
    const made = model.create(node, name, request.u32(4), request)
    return Buffer.concat([entryOut(made), openOut(opened(made))])
  },
  read: (request) => model.read(held(request).node, request.u64(8), request.u32(16)),
  write: (request) => {
    const data = request.body.subarray(40, 40 + request.u32(16))
    model.write(held(request).node, request.u64(8), data)
    return writeOut(data.length)
  },
  statfs: () => statfsOut(),
  opendir: (_, node) => openOut(opened(node)),
  readdir: (request) => {
    const { listing } = held(request)
    const parts: Buffer[] = []
    let room = request.u32(16)
    for (let at = request.u64(8); at < listing.length; at += 1) {
      const [name, node] = listing[at] ?? ['', model.root]
      const part = dirent(name, node, at + 1)
      if (part.length > room) break
      room -= part.length
      parts.push(part)
    }
    return Buffer.concat(parts)
  },
  release: closed,
  releasedir: closed,
  flush: () => NOTHING,
  fsync: () => NOTHING,
  fsyncdir: () => NOTHING,
  destroy: () => NOTHING,
  // A node lives by its names and open descriptions; what the kernel remembers besides is ESTALE.
  forget: () => NOTHING,
  batchForget: () => NOTHING,
  interrupt: () => NOTHING,
}

function opened(node: Node): number {
  model.open(node)
  const listing: [string, Node][] = [['.', node], ['..', node.parent ?? node], ...node.children]
  handles.set(++lastHandle, { node, listing })
  return lastHandle
}

function held(request: Request): { readonly node: Node; readonly listing: [string, Node][] } {
  const handle = handles.get(request.u64(0))
  if (handle === undefined) throw new VfsError('EBADF', 'no such handle')
  return handle
}

function closed(request: Request): Buffer {
  model.close(held(request).node)
  handles.delete(request.u64(0))
  return NOTHING
}

function changesOf(request: Request): Changes {
  const valid = request.u32(0)
  const now = BigInt(Date.now()) * 1_000_000n
  const atimeNs = (valid & SET.atimeNow) === 0 ? request.time(32, 56) : now
  const mtimeNs = (valid & SET.mtimeNow) === 0 ? request.time(40, 60) : now
  return {
    ...((valid & SET.mode) === 0 ? {} : { mode: request.u32(68) }),
    ...((valid & SET.uid) === 0 ? {} : { uid: request.u32(76) }),
    ...((valid & SET.gid) === 0 ? {} : { gid: request.u32(80) }),
    ...((valid & SET.size) === 0 ? {} : { sizeBytes: request.u64(16) }),
    ...((valid & SET.atime) === 0 ? {} : { atimeNs }),
    ...((valid & SET.mtime) === 0 ? {} : { mtimeNs }),
  }
}

function serve(request: Request): Buffer | undefined {
  const { operation, unique, nodeId } = request
  if (operation === undefined) return replyTo(unique, os.constants.errno.ENOSYS)
  try {
    const node = nodeId === 0 ? model.root : model.node(nodeId)
    const body = answer[operation](request, node)
    return SILENT.has(operation) ? undefined : replyTo(unique, 0, body)
  } catch (error) {
    return SILENT.has(operation) ? undefined : replyTo(unique, os.constants.errno[errnoOf(error)])
  }
}

async function loop(device: number): Promise<void> {
  const readAsync = promisify(read)
  const buffer = Buffer.alloc(MAX_WRITE_BYTES + 4096)
  for (;;) {
    try {
      await readAsync(device, buffer, 0, buffer.length, null)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENODEV') return // unmounted
      if (code === 'EPERM') {
        await sleep(5) // not mounted yet
        continue
      }
      if (code === 'ENOENT' || code === 'EINTR') continue // the request was taken back
      throw error
    }
    const reply = serve(new Request(buffer))
    try {
      if (reply !== undefined) writeSync(device, reply)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error // nobody waits any more
    }
  }
}

const device = openSync('/dev/fuse', 'r+')
const options = `fd=3,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other`
const mounting = spawn('mount', ['-i', '-t', 'fuse.model', '-o', options, 'model', mountPoint], {
  stdio: ['ignore', 'ignore', 'inherit', device],
})
const ended = loop(device)
await new Promise<void>((resolve, reject) => {
  mounting.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`mount: ${code}`))))
})
console.log('ready')
process.stdin.resume()
process.stdin.once('end', () => execFileSync('umount', ['-i', '-l', mountPoint]))
await ended
closeSync(device)
