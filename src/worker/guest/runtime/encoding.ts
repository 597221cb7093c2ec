/** TextEncoder, TextDecoder, atob and btoa, after the Encoding and HTML standards. */
import { natives } from './border.ts'
import {
  Error,
  RangeError,
  TypeError,
  Uint8Array,
  charCodeAt,
  defineProperty,
  fromCharCode,
  indexOf,
  lower,
  setBytes,
  slice,
  subarray,
  toText,
  toWellFormed,
} from './primordials.ts'
import { bytesOf } from './results.ts'

type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252'

const LABELS: Readonly<Record<string, Encoding>> = Object.assign(
  Object.create(null) as Record<string, Encoding>,
  {
    'utf-8': 'utf-8',
    utf8: 'utf-8',
    'unicode-1-1-utf-8': 'utf-8',
    'utf-16': 'utf-16le',
    'utf-16le': 'utf-16le',
    'utf-16be': 'utf-16be',
    'iso-8859-1': 'windows-1252',
    'iso8859-1': 'windows-1252',
    latin1: 'windows-1252',
    l1: 'windows-1252',
    ascii: 'windows-1252',
    'us-ascii': 'windows-1252',
    'windows-1252': 'windows-1252',
    cp1252: 'windows-1252',
  },
)

/** What windows-1252 has at 0x80 to 0x9f. */
const WINDOWS_1252 =
  '\u20ac\x81\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\x8d\u017d\x8f' +
  '\x90\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\x9d\u017e\u0178'

const BYTE_ORDER_MARK = '\ufeff'

export class TextEncoder {
  get encoding(): string {
    return 'utf-8'
  }

  encode(text: unknown = ''): Uint8Array<ArrayBuffer> {
    const source = toText(text)
    const bytes = new Uint8Array(natives.utf8Length(source))
    natives.encodeUtf8Into(source, bytes, 0)
    return bytes
  }

  encodeInto(text: unknown, into: Uint8Array): { read: number; written: number } {
    const { 0: read, 1: written } = natives.encodeUtf8Into(toText(text), into, 0)
    return { read, written }
  }
}

/** Bytes that cannot be decoded before more come: at most three of UTF-8, or one of a pair. */
function wholePrefix(bytes: Uint8Array, encoding: Encoding): number {
  if (encoding === 'windows-1252') return bytes.length
  if (encoding !== 'utf-8') {
    const even = bytes.length - (bytes.length % 2)
    const high = bytes[encoding === 'utf-16le' ? even - 1 : even - 2] ?? 0
    return even >= 2 && high >= 0xd8 && high < 0xdc ? even - 2 : even
  }
  // An incomplete sequence at the end starts within the last three bytes.
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const lead = bytes[bytes.length - back] as number
    if ((lead & 0xc0) === 0x80) continue
    const needed = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1
    if (needed <= back || lead > 0xf4) return bytes.length
    // Already invalid: more bytes would not mend it.
    const padded = new Uint8Array(needed)
    setBytes(padded, subarray(bytes, bytes.length - back))
    for (let i = back; i < needed; i++) padded[i] = i === 1 && lead === 0xe0 ? 0xa0 : 0x90
    if (lead === 0xf4 && back === 1) padded[1] = 0x80
    if (lead === 0xed && back === 1) padded[1] = 0x80
    return natives.validUtf8Prefix(padded) === needed ? bytes.length - back : bytes.length
  }
  return bytes.length
}

export class TextDecoder {
  readonly encoding: string
  readonly fatal: boolean
  readonly ignoreBOM: boolean
  #kept: Uint8Array = new Uint8Array(0)
  #started = false

  constructor(label: unknown = 'utf-8', options: { fatal?: unknown; ignoreBOM?: unknown } = {}) {
    const encoding = LABELS[lower(trimmed(toText(label)))]
    if (encoding === undefined) {
      throw new RangeError(
        `TextDecoder: the encoding '${slice(toText(label), 0, 40)}' is not known`,
      )
    }
    this.encoding = encoding
    this.fatal = Boolean(options.fatal)
    this.ignoreBOM = Boolean(options.ignoreBOM)
  }

  decode(input?: unknown, options: { stream?: unknown } = {}): string {
    const given = input === undefined ? new Uint8Array(0) : bytesOf(input)
    if (given === undefined) throw new TypeError('TextDecoder: takes bytes')
    let bytes = given
    if (this.#kept.length > 0) {
      bytes = new Uint8Array(this.#kept.length + given.length)
      setBytes(bytes, this.#kept)
      setBytes(bytes, given, this.#kept.length)
    }
    const stream = Boolean(options.stream)
    const end = stream ? wholePrefix(bytes, this.encoding as Encoding) : bytes.length
    const started = this.#started
    // Copied: the caller may change its bytes before the rest comes.
    this.#kept = new Uint8Array(bytes.length - end)
    setBytes(this.#kept, subarray(bytes, end))
    this.#started = stream && (started || end > 0)
    const text = this.#decodeWhole(subarray(bytes, 0, end))
    const marked = !started && !this.ignoreBOM && text[0] === BYTE_ORDER_MARK
    return marked && this.encoding !== 'windows-1252' ? slice(text, 1) : text
  }

  #decodeWhole(bytes: Uint8Array): string {
    if (this.encoding === 'utf-8') {
      if (this.fatal && natives.validUtf8Prefix(bytes) !== bytes.length) this.#refuse()
      const text = natives.decodeUtf8(bytes)
      if (text === undefined) throw new RangeError('TextDecoder: the text is too long for a string')
      return text
    }
    if (this.encoding === 'windows-1252') return decodeWindows1252(bytes)
    return this.#decodeUtf16(bytes)
  }

  #decodeUtf16(bytes: Uint8Array): string {
    const low = this.encoding === 'utf-16le' ? 0 : 1
    let text = ''
    for (let i = 0; i + 1 < bytes.length; i += 2) {
      text += fromCharCode((bytes[i + low] as number) | ((bytes[i + 1 - low] as number) << 8))
    }
    if (bytes.length % 2 === 1) text += '\ufffd'
    const well = toWellFormed(text)
    if (this.fatal && (well !== text || bytes.length % 2 === 1)) this.#refuse()
    return well
  }

  #refuse(): never {
    this.#kept = new Uint8Array(0)
    this.#started = false
    const error = new TypeError(`TextDecoder: the bytes are not valid ${this.encoding}`)
    defineProperty(error, 'code', { value: 'ERR_ENCODING_INVALID_ENCODED_DATA' })
    throw error
  }
}

function decodeWindows1252(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    text += byte >= 0x80 && byte < 0xa0 ? (WINDOWS_1252[byte - 0x80] as string) : fromCharCode(byte)
  }
  return text
}

const SPACES = '\t\n\f\r '

function trimmed(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && indexOf(SPACES, text[start] as string) >= 0) start++
  while (end > start && indexOf(SPACES, text[end - 1] as string) >= 0) end--
  return slice(text, start, end)
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

function invalidCharacter(message: string): Error {
  const error = new Error(message)
  defineProperty(error, 'name', { value: 'InvalidCharacterError' })
  return error
}

export function btoa(data: unknown): string {
  const text = toText(data)
  let out = ''
  for (let i = 0; i < text.length; i += 3) {
    let word = 0
    for (let k = 0; k < 3; k++) {
      const unit = i + k < text.length ? charCodeAt(text, i + k) : 0
      if (unit > 255) throw invalidCharacter('btoa(): a character is above U+00FF')
      word = (word << 8) | unit
    }
    const have = text.length - i
    out += (BASE64[word >> 18] as string) + (BASE64[(word >> 12) & 63] as string)
    out += have > 1 ? (BASE64[(word >> 6) & 63] as string) : '='
    out += have > 2 ? (BASE64[word & 63] as string) : '='
  }
  return out
}

export function atob(data: unknown): string {
  const given = toText(data)
  let text = ''
  for (let i = 0; i < given.length; i++) {
    if (indexOf(SPACES, given[i] as string) < 0) text += given[i] as string
  }
  if (text.length % 4 === 0) {
    if (text[text.length - 1] === '=') text = slice(text, 0, -1)
    if (text[text.length - 1] === '=') text = slice(text, 0, -1)
  }
  if (text.length % 4 === 1) throw invalidCharacter('atob(): the length is not that of base64')
  let out = ''
  let word = 0
  let bits = 0
  for (let i = 0; i < text.length; i++) {
    const value = indexOf(BASE64, text[i] as string)
    if (value < 0) throw invalidCharacter('atob(): a character is not of base64')
    word = ((word << 6) | value) & 0xffff
    bits += 6
    if (bits < 8) continue
    bits -= 8
    out += fromCharCode((word >> bits) & 0xff)
  }
  return out
}
