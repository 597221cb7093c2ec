/**
 * Everything that a worker says passes here before the daemon acts on it. A worker may be in the
 * hands of its guest, so each field is looked at, bounded and copied; what fits no message is
 * `undefined`, and the worker is then killed.
 */
import { ERROR_BOUNDS, type FromWorker, isResultName } from '../worker/protocol.ts'
import type { GuestError } from './types.ts'

/** PATH_MAX: longer paths name nothing. */
const PATH_BYTES = 4096

/** But newline and tab, which are all that a line of text needs. */
const CONTROL_CHARACTERS = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g

/** What a guest says is shown on terminals: it must not move their cursors, nor name their windows.
 * Each replacement takes no more bytes than what it stands for. */
export function plainText(text: string): string {
  return text.replace(CONTROL_CHARACTERS, '?')
}

type Fields = Readonly<Record<string, unknown>>

export function checkMessage(header: unknown): FromWorker | undefined {
  if (!isObject(header)) return undefined
  const type = header['type']
  switch (type) {
    case 'ready':
    case 'next':
    case 'log':
    case 'spool':
    case 'bytes':
    case 'full':
      return { type }
    case 'open':
    case 'stat':
    case 'list': {
      const path = header['path']
      return isText(path, PATH_BYTES) ? { type, path } : undefined
    }
    case 'over': {
      const limit = header['limit']
      return limit === 'output' || limit === 'files' ? { type, limit } : undefined
    }
    case 'compiled': {
      const error = checkError(header['error'])
      const retire = header['retire']
      if (error === 'bad' || typeof retire !== 'boolean') return undefined
      return { type, error, retire }
    }
    case 'done': {
      const error = checkError(header['error'])
      const { retire, spooled } = header as { retire?: unknown; spooled?: unknown }
      const results = checkResults(header['results'])
      if (error === 'bad' || typeof retire !== 'boolean' || typeof spooled !== 'boolean')
        return undefined
      return results && { type, error, spooled, retire, results }
    }
    case 'results': {
      const results = checkResults(header['results'])
      return results && { type, results }
    }
    default:
      return undefined
  }
}

function checkResults(value: unknown): [string, number][] | undefined {
  if (!Array.isArray(value)) return undefined
  const results: [string, number][] = []
  for (const item of value as unknown[]) {
    if (!Array.isArray(item) || item.length !== 2) return undefined
    const [name, sizeBytes] = item as unknown[]
    if (typeof name !== 'string' || !isResultName(name)) return undefined
    if (!isCount(sizeBytes)) return undefined
    results.push([name, sizeBytes])
  }
  return results
}

function checkError(value: unknown): GuestError | undefined | 'bad' {
  if (value === undefined || value === null) return undefined
  if (!isObject(value)) return 'bad'
  const name = value['name']
  const message = value['message']
  const stack = value['stack']
  const line = value['line'] ?? undefined
  const column = value['column'] ?? undefined
  if (!isText(name, ERROR_BOUNDS.nameChars)) return 'bad'
  if (!isText(message, ERROR_BOUNDS.messageChars)) return 'bad'
  if (!isText(stack, ERROR_BOUNDS.stackChars)) return 'bad'
  if (line !== undefined && !isCount(line)) return 'bad'
  if (column !== undefined && !isCount(column)) return 'bad'
  return {
    name: plainText(name),
    message: plainText(message),
    stack: plainText(stack),
    line,
    column,
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown, maxChars: number): value is string {
  return typeof value === 'string' && value.length <= maxChars
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
