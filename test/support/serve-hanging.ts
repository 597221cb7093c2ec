/** The child of hanging-fuse.ts: speaks to /dev/fuse itself, as little of the protocol as does. */
import { spawnSync } from 'node:child_process'
import { openSync, readSync, writeSync } from 'node:fs'
import { Worker, isMainThread, workerData } from 'node:worker_threads'

const [LOOKUP, FORGET, GETATTR, STATFS, INIT, OPENDIR, READDIR, RELEASEDIR] = [
  1, 2, 3, 17, 26, 27, 28, 29,
]
const ENOENT = 2
const ENOSYS = 38

interface Shared {
  readonly device: number
  readonly hanging: Int32Array
}

if (isMainThread) {
  const mountPoint = process.argv[2] ?? ''
  const device = openSync('/dev/fuse', 'r+')
  const stdio: (number | 'inherit')[] = Array.from({ length: device + 1 }, (_, fd) =>
    fd === device ? device : 'inherit',
  )
  const options = `fd=${device},rootmode=40000,user_id=0,group_id=0,allow_other`
  const args = ['-i', '-t', 'fuse', '-o', options, 'hanging', mountPoint]
  const { status } = spawnSync('mount', args, { stdio })
  if (status !== 0) process.exit(1)
  const hanging = new Int32Array(new SharedArrayBuffer(4))
  const shared: Shared = { device, hanging }
  const worker = new Worker(new URL(import.meta.url), { workerData: shared })
  worker.once('online', () => process.send?.('ready'))
  process.on('message', () => Atomics.store(hanging, 0, 1))
} else serve(workerData as Shared)

function serve({ device, hanging }: Shared): void {
  const frame = Buffer.alloc(256 * 1024)
  for (;;) {
    const size = readSync(device, frame)
    if (size <= 0) return
    const opcode = frame.readUInt32LE(4)
    const unique = frame.readBigUInt64LE(8)
    if (opcode === FORGET || Atomics.load(hanging, 0) === 1) continue
    reply(device, unique, opcode)
  }
}

function reply(device: number, unique: bigint, opcode: number): void {
  const body = bodyOf(opcode)
  const error = typeof body === 'number' ? body : 0
  const data = typeof body === 'number' ? Buffer.alloc(0) : body
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + data.length, 0)
  header.writeInt32LE(-error, 4)
  header.writeBigUInt64LE(unique, 8)
  writeSync(device, Buffer.concat([header, data]))
}

/** A number is an errno. */
function bodyOf(opcode: number): Buffer | number {
  switch (opcode) {
    case INIT: {
      const init = Buffer.alloc(64)
      init.writeUInt32LE(7, 0)
      init.writeUInt32LE(31, 4)
      init.writeUInt32LE(4096, 20) // max_write
      return init
    }
    case GETATTR: {
      const attr = Buffer.alloc(104) // no time-out: the kernel asks each time
      attr.writeBigUInt64LE(1n, 16)
      attr.writeUInt32LE(0o40777, 16 + 60)
      attr.writeUInt32LE(2, 16 + 64)
      return attr
    }
    case OPENDIR:
      return Buffer.alloc(16)
    case READDIR:
    case RELEASEDIR:
      return Buffer.alloc(0)
    case STATFS:
      return Buffer.alloc(80)
    case LOOKUP:
      return ENOENT
    default:
      return ENOSYS
  }
}
