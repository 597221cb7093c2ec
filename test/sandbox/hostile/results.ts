import { close, read } from 'node:fs'
import { promisify } from 'node:util'
import type { RunOutcome } from '../../../src/sandbox/types.ts'

const readAt = promisify(read)
const closeFd = promisify(close)

/** The bytes of every result as text, by name; closes the spool as a receiver must. */
export async function readResults(outcome: RunOutcome): Promise<Map<string, string>> {
  const results = new Map<string, string>()
  if (outcome.status !== 'ok') return results
  try {
    for (const result of outcome.results) {
      if (results.has(result.name)) throw new Error(`${result.name} came twice`)
      if ('bytes' in result) {
        results.set(result.name, Buffer.from(result.bytes).toString())
        continue
      }
      const { fd, offset, sizeBytes } = result.spool
      const bytes = Buffer.alloc(sizeBytes)
      const { bytesRead } = await readAt(fd, bytes, 0, sizeBytes, offset)
      if (bytesRead !== sizeBytes) throw new Error(`${result.name} is shorter than it says`)
      results.set(result.name, bytes.toString())
    }
    return results
  } finally {
    if (outcome.spoolFd !== undefined) await closeFd(outcome.spoolFd)
  }
}
