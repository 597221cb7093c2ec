/** URL and URLSearchParams, after the URL standard. URLs are parsed by the worker's own parser. */
import { answer, host } from './border.ts'
import { TextDecoder, TextEncoder } from './encoding.ts'
import {
  TypeError,
  Uint8Array,
  compareUnits,
  defineProperty,
  indexOf,
  parseJson,
  push,
  slice,
  sort,
  split,
  symbolIterator,
  toText,
  toWellFormed,
} from './primordials.ts'

type Part =
  | 'href'
  | 'origin'
  | 'protocol'
  | 'username'
  | 'password'
  | 'host'
  | 'hostname'
  | 'port'
  | 'pathname'
  | 'search'
  | 'hash'

/** In the order of the worker's `urlParts`. */
const PARTS: readonly Part[] = [
  'href',
  'origin',
  'protocol',
  'username',
  'password',
  'host',
  'hostname',
  'port',
  'pathname',
  'search',
  'hash',
]

const HREF = 0
const SEARCH = 9

function parse(href: unknown, base: unknown): string[] | undefined {
  const root = base === undefined ? undefined : toWellFormed(toText(base))
  const parts = answer(host.url(toWellFormed(toText(href)), root))
  return parts === '' ? undefined : (parseJson(parts) as string[])
}

/** How a URL and its `searchParams` follow each other. */
let attach: (params: URLSearchParams, changed: (search: string) => void) => void
let refill: (params: URLSearchParams, search: string) => void

export class URL {
  #parts: string[]
  #params: URLSearchParams | undefined

  constructor(href: unknown, base?: unknown) {
    const parts = parse(href, base)
    if (parts === undefined) {
      const error = new TypeError(`Invalid URL: '${slice(toText(href), 0, 200)}'`)
      defineProperty(error, 'code', { value: 'ERR_INVALID_URL' })
      throw error
    }
    this.#parts = parts
  }

  static canParse(href: unknown, base?: unknown): boolean {
    return parse(href, base) !== undefined
  }

  static parse(href: unknown, base?: unknown): URL | null {
    return URL.canParse(href, base) ? new URL(href, base) : null
  }

  static {
    for (let i = 0; i < PARTS.length; i++) {
      const part = PARTS[i] as Part
      defineProperty(URL.prototype, part, {
        get(this: URL) {
          return this.#parts[i]
        },
        ...(part === 'origin'
          ? {}
          : {
              set(this: URL, value: unknown) {
                this.#assign(part, toWellFormed(toText(value)), true)
              },
            }),
        enumerable: true,
        configurable: true,
      })
    }
  }

  #assign(part: Part, value: string, refillParams: boolean): void {
    const parts = answer(host.urlWith(this.#parts[HREF] as string, part, value))
    if (parts === '') {
      if (part === 'href') throw new TypeError(`Invalid URL: '${slice(value, 0, 200)}'`)
      return
    }
    this.#parts = parseJson(parts) as string[]
    if (refillParams && this.#params !== undefined && (part === 'href' || part === 'search')) {
      refill(this.#params, this.#parts[SEARCH] as string)
    }
  }

  get searchParams(): URLSearchParams {
    if (this.#params === undefined) {
      this.#params = new URLSearchParams(this.#parts[SEARCH])
      attach(this.#params, (search) => this.#assign('search', search, false))
    }
    return this.#params
  }

  toString(): string {
    return this.#parts[HREF] as string
  }

  toJSON(): string {
    return this.#parts[HREF] as string
  }
}

type Pair = [name: string, value: string]

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const HEX = '0123456789ABCDEF'

/** application/x-www-form-urlencoded. */
function encodePart(text: string): string {
  const bytes = encoder.encode(text)
  let out = ''
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    const alphanumeric =
      (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122)
    if (alphanumeric || byte === 42 || byte === 45 || byte === 46 || byte === 95) {
      out += ASCII[byte] as string
    } else if (byte === 32) out += '+'
    else out += '%' + (HEX[byte >> 4] as string) + (HEX[byte & 15] as string)
  }
  return out
}

let ASCII = ''
for (let i = 0; i < 128; i++) ASCII += String.fromCharCode(i)

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}

function decodePart(text: string): string {
  const bytes = encoder.encode(text)
  const out = new Uint8Array(bytes.length)
  let length = 0
  for (let i = 0; i < bytes.length; i++) {
    let byte = bytes[i] as number
    if (byte === 43) byte = 32
    else if (byte === 37) {
      const high = hexDigit(bytes[i + 1])
      const low = hexDigit(bytes[i + 2])
      if (high >= 0 && low >= 0) {
        byte = high * 16 + low
        i += 2
      }
    }
    out[length++] = byte
  }
  return decoder.decode(new Uint8Array(out.buffer, 0, length))
}

function parsePairs(query: string): Pair[] {
  const pairs: Pair[] = []
  const parts = split(query[0] === '?' ? slice(query, 1) : query, '&')
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as string
    if (part === '') continue
    const equals = indexOf(part, '=')
    const name = equals < 0 ? part : slice(part, 0, equals)
    push(pairs, [decodePart(name), equals < 0 ? '' : decodePart(slice(part, equals + 1))])
  }
  return pairs
}

function textOf(value: unknown): string {
  return toWellFormed(toText(value))
}

function pairsOf(init: unknown): Pair[] {
  if (init === undefined || init === null) return []
  if (typeof init !== 'object' && typeof init !== 'function') return parsePairs(textOf(init))
  const pairs: Pair[] = []
  if (typeof (init as Partial<Iterable<unknown>>)[symbolIterator] === 'function') {
    for (const item of init as Iterable<Iterable<unknown>>) {
      const pair = [...item]
      if (pair.length !== 2) throw new TypeError('URLSearchParams: each item must be a pair')
      push(pairs, [textOf(pair[0]), textOf(pair[1])])
    }
    return pairs
  }
  for (const key of Object.keys(init)) {
    push(pairs, [textOf(key), textOf((init as Record<string, unknown>)[key])])
  }
  return pairs
}

export class URLSearchParams {
  #pairs: Pair[]
  #changed: ((search: string) => void) | undefined

  constructor(init: unknown = '') {
    this.#pairs = pairsOf(init)
  }

  static {
    attach = (params, changed) => {
      params.#changed = changed
    }
    refill = (params, search) => {
      params.#pairs = parsePairs(search)
    }
  }

  #set(pairs: Pair[]): void {
    this.#pairs = pairs
    this.#changed?.(this.toString())
  }

  #without(name: string, value: string | undefined): Pair[] {
    const kept: Pair[] = []
    for (let i = 0; i < this.#pairs.length; i++) {
      const pair = this.#pairs[i] as Pair
      if (pair[0] !== name || (value !== undefined && pair[1] !== value)) push(kept, pair)
    }
    return kept
  }

  get size(): number {
    return this.#pairs.length
  }

  append(name: unknown, value: unknown): void {
    push(this.#pairs, [textOf(name), textOf(value)])
    this.#set(this.#pairs)
  }

  delete(name: unknown, value?: unknown): void {
    this.#set(this.#without(textOf(name), value === undefined ? undefined : textOf(value)))
  }

  get(name: unknown): string | null {
    return this.getAll(name)[0] ?? null
  }

  getAll(name: unknown): string[] {
    const wanted = textOf(name)
    const values: string[] = []
    for (let i = 0; i < this.#pairs.length; i++) {
      const pair = this.#pairs[i] as Pair
      if (pair[0] === wanted) push(values, pair[1])
    }
    return values
  }

  has(name: unknown, value?: unknown): boolean {
    const rest = this.#without(textOf(name), value === undefined ? undefined : textOf(value))
    return rest.length !== this.#pairs.length
  }

  set(name: unknown, value: unknown): void {
    const wanted = textOf(name)
    const pairs: Pair[] = []
    let placed = false
    for (let i = 0; i < this.#pairs.length; i++) {
      const pair = this.#pairs[i] as Pair
      if (pair[0] !== wanted) push(pairs, pair)
      else if (!placed) {
        push(pairs, [wanted, textOf(value)])
        placed = true
      }
    }
    if (!placed) push(pairs, [wanted, textOf(value)])
    this.#set(pairs)
  }

  sort(): void {
    // By UTF-16 units, and stable, as the standard has it.
    this.#set(sort(this.#pairs, (a, b) => compareUnits(a[0], b[0])))
  }

  forEach(callback: (value: string, name: string, params: URLSearchParams) => void): void {
    for (const [name, value] of this) callback(value, name, this)
  }

  *entries(): IterableIterator<Pair> {
    for (let i = 0; i < this.#pairs.length; i++) {
      const { 0: name, 1: value } = this.#pairs[i] as Pair
      yield [name, value]
    }
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.entries()) yield name
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this.entries()) yield value
  }

  [Symbol.iterator](): IterableIterator<Pair> {
    return this.entries()
  }

  toString(): string {
    let out = ''
    for (let i = 0; i < this.#pairs.length; i++) {
      const { 0: name, 1: value } = this.#pairs[i] as Pair
      out += `${i === 0 ? '' : '&'}${encodePart(name)}=${encodePart(value)}`
    }
    return out
  }
}
