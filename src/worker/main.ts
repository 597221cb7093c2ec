/**
 * The process in the jail. It loads everything, makes an isolate, gives up what it no longer needs,
 * and then does what the daemon says, one thing at a time, until the daemon is gone or kills it.
 */
import { native, receive, type Received, send, SocketHost } from './channel.ts'
import { createGuestSlot, type GuestSlot } from './guest/index.ts'
import type { Host } from './host.ts'
import { ERROR_BOUNDS } from './protocol.ts'
import type { GuestError, RunLimits } from '../sandbox/types.ts'

/** Node's own, isolated-vm's timers, and some: native code in here cannot flood the machine. */
const MAX_THREADS = 64

const firstLimits = JSON.parse(process.argv[2] ?? '') as RunLimits
await warmUp(firstLimits)
// The isolate that waits before the first program is known.
let slot: GuestSlot = createGuestSlot(firstLimits)
let runnable = false

// Nobody is counted here but this process where it has a user namespace; elsewhere the number would
// be that of all the user's processes.
if (process.argv[3] === 'own-user-namespace') native.limitThreads(MAX_THREADS)
native.lock()
send({ type: 'ready' })

for (;;) await serve(receive())

/** Runs a program of ours once, so that the guest's first finds compiled code and full caches. */
async function warmUp(limits: RunLimits): Promise<void> {
  const warm = createGuestSlot(limits)
  const source = Buffer.from("const warm: string = 'x'; emit('a', warm)")
  const nowhere = { begin: () => undefined, write: () => undefined } as unknown as Host
  if (warm.compile(source, undefined) === undefined)
    await warm.run(nowhere, { seed: Buffer.alloc(32), nowMs: 0 })
  warm.dispose()
}

async function serve({ message, tail }: Received): Promise<void> {
  switch (message.type) {
    case 'load': {
      const { programBytes, libraryBytes } = message
      const bytes = receiveBytes(programBytes + Math.max(libraryBytes, 0), tail)
      const program = bytes.subarray(0, programBytes)
      const library = libraryBytes < 0 ? undefined : bytes.subarray(programBytes)
      const error = clip(slot.compile(program, library))
      runnable = error === undefined
      send({ type: 'compiled', error, retire: slot.poisoned() })
      return
    }
    case 'run': {
      // Sent along with what turned out not to compile.
      if (!runnable) return
      runnable = false
      const host = new SocketHost(message.limits)
      const seed = Buffer.from(message.seed, 'hex')
      const error = clip(await slot.run(host, { seed, nowMs: message.nowMs }))
      const { spooled, results, bytes } = host.finish(error === undefined)
      send({ type: 'done', error, spooled, retire: slot.poisoned(), results }, bytes)
      return
    }
    case 'renew':
      slot.dispose()
      slot = createGuestSlot(message.limits)
      send({ type: 'ready' })
      return
    case 'bytes':
    case 'opened':
    case 'attributes':
    case 'entries':
    case 'spool':
    case 'refused':
      throw new Error(`the daemon sent ${message.type} out of step`)
  }
}

/** `first`: what came with the announcement. */
function receiveBytes(sizeBytes: number, first: Buffer): Buffer {
  if (first.length === sizeBytes) return first
  const bytes = Buffer.allocUnsafe(sizeBytes)
  for (let at = first.copy(bytes); at < sizeBytes;) {
    const { message, tail } = receive()
    if (message.type !== 'bytes' || tail.length === 0) throw new Error('bytes are missing')
    at += tail.copy(bytes, at)
  }
  return bytes
}

/** Within the bounds that the daemon checks. */
function clip(error: GuestError | undefined): GuestError | undefined {
  return (
    error && {
      name: error.name.slice(0, ERROR_BOUNDS.nameChars),
      message: error.message.slice(0, ERROR_BOUNDS.messageChars),
      stack: error.stack.slice(0, ERROR_BOUNDS.stackChars),
      line: error.line,
      column: error.column,
    }
  )
}
