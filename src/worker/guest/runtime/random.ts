/**
 * Randomness that repeats: ChaCha20, keyed by the run's seed and every input opened so far. Same
 * program, same inputs, same bytes.
 */
import { answer, host } from './border.ts'
import {
  RangeError,
  TypeError,
  Uint8Array,
  bufferOf,
  byteLengthOf,
  byteOffsetOf,
  defineProperty,
  isView,
  slice,
  typedArrayName,
} from './primordials.ts'

const { Uint32Array } = globalThis

/** As the Web Cryptography standard has it. */
const MAX_BYTES = 65_536

const state = new Uint32Array(16)
const block = new Uint32Array(16)
let used = 16
let keyed = false

/** An input was opened: the next bytes depend on it. */
export function rekey(): void {
  keyed = false
}

function key(): void {
  const hex = answer(host.seed())
  const constants = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]
  for (let i = 0; i < 16; i++) state[i] = constants[i] ?? 0
  for (let i = 0; i < 8; i++) state[4 + i] = +('0x' + slice(hex, i * 8, i * 8 + 8))
  used = 16
  keyed = true
}

function quarter(a: number, b: number, c: number, d: number): void {
  let w = block[a] as number
  let x = block[b] as number
  let y = block[c] as number
  let z = block[d] as number
  w = (w + x) | 0
  z = rotate(z ^ w, 16)
  y = (y + z) | 0
  x = rotate(x ^ y, 12)
  w = (w + x) | 0
  z = rotate(z ^ w, 8)
  y = (y + z) | 0
  x = rotate(x ^ y, 7)
  block[a] = w
  block[b] = x
  block[c] = y
  block[d] = z
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}

function nextBlock(): void {
  for (let i = 0; i < 16; i++) block[i] = state[i] as number
  for (let round = 0; round < 10; round++) {
    quarter(0, 4, 8, 12)
    quarter(1, 5, 9, 13)
    quarter(2, 6, 10, 14)
    quarter(3, 7, 11, 15)
    quarter(0, 5, 10, 15)
    quarter(1, 6, 11, 12)
    quarter(2, 7, 8, 13)
    quarter(3, 4, 9, 14)
  }
  for (let i = 0; i < 16; i++) block[i] = (block[i] as number) + (state[i] as number)
  state[12] = (state[12] as number) + 1
  used = 0
}

function nextWord(): number {
  if (!keyed) key()
  if (used === 16) nextBlock()
  return block[used++] as number
}

export function random(): number {
  return ((nextWord() >>> 5) * 67_108_864 + (nextWord() >>> 6)) / 9_007_199_254_740_992
}

export function getRandomValues<T>(array: T): T {
  const name = isView(array) ? typedArrayName(array) : undefined
  if (name === undefined || slice(name, 0, 5) === 'Float') {
    throw new TypeError('getRandomValues(): takes an array of integers')
  }
  const length = byteLengthOf(array)
  if (length > MAX_BYTES) {
    const error = new RangeError(`getRandomValues(): at most ${MAX_BYTES} bytes at a time`)
    defineProperty(error, 'name', { value: 'QuotaExceededError' })
    throw error
  }
  const bytes = new Uint8Array(bufferOf(array), byteOffsetOf(array), length)
  for (let i = 0; i < length;) {
    let word = nextWord()
    for (let k = 0; k < 4 && i < length; k++, i++, word >>>= 8) bytes[i] = word & 0xff
  }
  return array
}

export function randomUUID(): string {
  const bytes = getRandomValues(new Uint8Array(16))
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  let text = ''
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-'
    const byte = bytes[i] as number
    text += HEX[byte >> 4] as string
    text += HEX[byte & 15] as string
  }
  return text
}

const HEX = '0123456789abcdef'
