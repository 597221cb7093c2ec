/**
 * `emit`. The host has one result open at a time, so what is known at once is written at once, and
 * what comes bit by bit is kept until it is whole or has grown; then it takes the open place, and
 * others are kept until it is done.
 */
import { answer, host, natives } from './border.ts'
import {
  Error,
  Set,
  TypeError,
  Uint8Array,
  arrayBufferLength,
  bufferOf,
  byteLengthOf,
  byteOffsetOf,
  dataViewBuffer,
  dataViewLength,
  dataViewOffset,
  defineProperty,
  isArray,
  isView,
  min,
  push,
  resolved,
  setAdd,
  setBytes,
  setHas,
  shift,
  slice,
  stringifyJson,
  subarray,
  symbolAsyncIterator,
  symbolIterator,
  whenSettled,
  typedArrayName,
} from './primordials.ts'

/** Below the protocol's frame of 64 KiB. */
const WRITE_BYTES = 60 * 1024
/** A result that comes bit by bit is kept up to here. */
const KEPT_BYTES = 1024 * 1024
/** So much text is encoded at once. */
const TEXT_LENGTH = 16 * 1024
const NAME_BYTES = 255 // as any filesystem's

interface Result {
  readonly name: string
  readonly pieces: Uint8Array[]
  keptBytes: number
  done: boolean
}

const taken = new Set<string>()
const waiting: Result[] = []
let current: Result | undefined
let unsettled = 0
let failure: { error: unknown } | undefined

export function unfinishedResults(): number {
  return unsettled
}

/** What an async result failed with, if one did. */
export function resultFailure(): { error: unknown } | undefined {
  return failure
}

function checkName(name: unknown): string {
  if (typeof name !== 'string') throw new TypeError('emit(): the name must be a string')
  const shown = slice(name, 0, 100)
  if (name === '') throw new TypeError('emit(): the name is empty')
  if (name[0] === '.') throw new TypeError(`emit(): '${shown}' starts with a dot`)
  for (let i = 0; i < name.length; i++) {
    if (name[i] === '/' || name[i] === '\0') {
      throw new TypeError(`emit(): '${shown}' is not a file name: no '/' and no NUL`)
    }
  }
  if (natives.utf8Length(name) > NAME_BYTES) {
    throw new TypeError(`emit(): '${shown}…' is longer than ${NAME_BYTES} bytes`)
  }
  if (setHas(taken, name)) {
    const error = new Error(`emit(): there is a result '${shown}' already`)
    defineProperty(error, 'code', { value: 'EEXIST', configurable: true, writable: true })
    throw error
  }
  return name
}

/** The bytes themselves, not a copy; undefined for what is none. */
export function bytesOf(data: unknown): Uint8Array | undefined {
  if (isView(data)) {
    return typedArrayName(data) === undefined
      ? new Uint8Array(dataViewBuffer(data), dataViewOffset(data), dataViewLength(data))
      : new Uint8Array(bufferOf(data), byteOffsetOf(data), byteLengthOf(data))
  }
  try {
    arrayBufferLength(data)
  } catch {
    return undefined
  }
  return new Uint8Array(data as ArrayBuffer)
}

function encode(text: string): Uint8Array {
  const bytes = new Uint8Array(natives.utf8Length(text))
  natives.encodeUtf8Into(text, bytes, 0)
  return bytes
}

function jsonOf(name: string, data: unknown, indent: number): string {
  const text = stringifyJson(data, undefined, indent) as string | undefined
  if (text === undefined) {
    throw new TypeError(`emit(): '${name}': ${typeof data} is neither text nor bytes nor JSON`)
  }
  return text + '\n'
}

/** An item of an iterable: text and bytes as they are, anything else as a line of JSON. */
function piece(name: string, item: unknown): string | Uint8Array {
  return typeof item === 'string' ? item : (bytesOf(item) ?? jsonOf(name, item, 0))
}

function write(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
    // A copy with a buffer of its own: what crosses is exactly these bytes.
    const piece = new Uint8Array(min(WRITE_BYTES, bytes.length - at))
    setBytes(piece, subarray(bytes, at, at + piece.length))
    answer(host.write(piece))
  }
}

/** Gathers small pieces, so that a million short lines are not a million messages. */
function writer(): { addText(text: string): void; add(bytes: Uint8Array): void; end(): void } {
  let text = ''
  const buffer = new Uint8Array(WRITE_BYTES)
  let filled = 0

  const flushBytes = (): void => {
    if (filled > 0) write(subarray(buffer, 0, filled))
    filled = 0
  }
  const addBytes = (bytes: Uint8Array): void => {
    if (bytes.length > WRITE_BYTES - filled) flushBytes()
    if (bytes.length >= WRITE_BYTES) write(bytes)
    else {
      setBytes(buffer, bytes, filled)
      filled += bytes.length
    }
  }
  const flushText = (): void => {
    if (text !== '') addBytes(encode(text))
    text = ''
  }
  return {
    addText(piece) {
      text += piece
      if (text.length >= TEXT_LENGTH) flushText()
    },
    add(bytes) {
      flushText()
      addBytes(bytes)
    },
    end() {
      flushText()
      flushBytes()
    },
  }
}

function keep(result: Result, data: string | Uint8Array): void {
  let bytes: Uint8Array
  if (typeof data === 'string') bytes = encode(data)
  else {
    // The program may change its bytes before they are written.
    bytes = new Uint8Array(data.length)
    setBytes(bytes, data)
  }
  push(result.pieces, bytes)
  result.keptBytes += bytes.length
}

function flush(result: Result): void {
  const out = writer()
  for (let i = 0; i < result.pieces.length; i++) out.add(result.pieces[i] as Uint8Array)
  out.end()
  result.pieces.length = 0
  result.keptBytes = 0
}

/** Gives the open place to whoever waits for it and has enough. */
function advance(): void {
  for (;;) {
    if (current !== undefined) {
      if (current.done || current.keptBytes >= KEPT_BYTES) flush(current)
      if (!current.done) return
      current = undefined
    }
    for (let i = 0; i < waiting.length && current === undefined; i++) {
      const result = waiting[i] as Result
      if (!result.done && result.keptBytes < KEPT_BYTES) continue
      for (let k = i; k > 0; k--) waiting[k] = waiting[k - 1] as Result
      shift(waiting)
      current = result
    }
    if (current === undefined) return
    answer(host.begin(current.name))
  }
}

function addResult(name: string): Result {
  const result = { name, pieces: [], keptBytes: 0, done: false }
  push(waiting, result)
  return result
}

function emitWhole(name: string, bytes: Uint8Array): void {
  if (current === undefined) {
    answer(host.begin(name))
    write(bytes)
    return
  }
  const result = addResult(name)
  keep(result, bytes)
  result.done = true
}

function emitItems(name: string, items: Iterable<unknown>): void {
  const result = current === undefined ? (current = newOpen(name)) : addResult(name)
  const out = result === current ? writer() : undefined
  try {
    for (const item of items) {
      const next = piece(name, item)
      if (out === undefined) keep(result, next)
      else if (typeof next === 'string') out.addText(next)
      else out.add(next)
    }
    out?.end()
  } finally {
    // Also where the program's iterator threw: nobody else may wait for it.
    result.done = true
    advance()
  }
}

function newOpen(name: string): Result {
  answer(host.begin(name))
  return { name, pieces: [], keptBytes: 0, done: false }
}

async function emitLater(name: string, items: AsyncIterable<unknown>): Promise<void> {
  const result = addResult(name)
  for await (const item of items) {
    keep(result, piece(name, item))
    if (result.keptBytes >= KEPT_BYTES) advance()
  }
  result.done = true
  advance()
}

/** Counts as unfinished until it is settled. */
function track(promise: Promise<unknown>): void {
  unsettled++
  void whenSettled(
    promise,
    () => {
      unsettled--
    },
    (error) => {
      unsettled--
      failure ??= { error }
    },
  )
}

export function emit(name: string, data: unknown): void {
  setAdd(taken, checkName(name))
  emitData(name, data)
}

function emitData(name: string, data: unknown): void {
  if (typeof data === 'string') return emitWhole(name, encode(data))
  const bytes = bytesOf(data)
  if (bytes !== undefined) return emitWhole(name, bytes)
  if (typeof data === 'object' && data !== null && !isArray(data)) {
    const object = data as Partial<Iterable<unknown> & AsyncIterable<unknown>> & { then?: unknown }
    if (typeof object[symbolAsyncIterator] === 'function') {
      return track(emitLater(name, object as AsyncIterable<unknown>))
    }
    if (typeof object[symbolIterator] === 'function') {
      return emitItems(name, object as Iterable<unknown>)
    }
    if (typeof object.then === 'function') {
      return track(whenSettled(resolved(object), (value) => emitData(name, value), raise))
    }
  }
  emitWhole(name, encode(jsonOf(name, data, 2)))
}

function raise(error: unknown): never {
  throw error
}
