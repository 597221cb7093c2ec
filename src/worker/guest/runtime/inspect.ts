/** Values as text for the log, bounded in depth, width and length. Runs none of their getters. */
import {
  Date as RealDate,
  Map,
  Promise,
  RegExp,
  Set,
  getOwnPropertyDescriptor,
  getPrototypeOf,
  isArray,
  isView,
  join,
  mapForEach,
  ownKeys,
  push,
  setForEach,
  slice,
  stringifyJson,
  toText,
} from './primordials.ts'
import { URL, URLSearchParams } from './url.ts'

const DEPTH = 3
const ITEMS = 100
const TEXT_LENGTH = 10_000
/** One line while it fits. */
const WIDTH = 76

function quoted(text: string): string {
  const shown = slice(text, 0, TEXT_LENGTH)
  const json = stringifyJson(shown)
  const single = indexOfQuote(shown) ? json : `'${unescapeQuotes(slice(json, 1, -1))}'`
  return text.length > TEXT_LENGTH ? single + '…' : single
}

function indexOfQuote(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text[i] === "'") return true
  return false
}

function unescapeQuotes(text: string): string {
  let out = ''
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\' && text[i + 1] === '"') continue
    if (text[i] === '\\') out += text[i++] as string
    out += text[i] as string
  }
  return out
}

export function inspect(value: unknown, depth = DEPTH): string {
  return show(value, depth, [])
}

function show(value: unknown, depth: number, above: object[]): string {
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'bigint') return `${toText(value)}n`
  if (typeof value === 'number') return value === 0 && 1 / value < 0 ? '-0' : `${value}`
  if (typeof value === 'function') return nameOf(value, 'function')
  if (typeof value !== 'object' || value === null) return toText(value)
  for (let i = 0; i < above.length; i++) if (above[i] === value) return '[Circular]'
  try {
    return showObject(value, depth, above)
  } catch {
    return '[object that cannot be shown]'
  }
}

function copyWith(above: object[], value: object): object[] {
  const copy: object[] = []
  for (let i = 0; i < above.length; i++) push(copy, above[i])
  push(copy, value)
  return copy
}

function nameOf(value: object, kind: string): string {
  const name = getOwnPropertyDescriptor(value, 'name')?.value as unknown
  return typeof name === 'string' && name !== '' ? `[${kind} ${slice(name, 0, 100)}]` : `[${kind}]`
}

function className(value: object): string {
  const prototype = getPrototypeOf(value)
  if (prototype === null) return '[null prototype]'
  const made = getOwnPropertyDescriptor(prototype, 'constructor')?.value as unknown
  if (typeof made !== 'function') return ''
  const name = getOwnPropertyDescriptor(made, 'name')?.value as unknown
  return typeof name === 'string' ? slice(name, 0, 100) : ''
}

function dataOf(value: object, key: PropertyKey): unknown {
  return getOwnPropertyDescriptor(value, key)?.value as unknown
}

function showObject(value: object, depth: number, above: object[]): string {
  const name = className(value)
  if (value instanceof Error) {
    const message = dataOf(value, 'message')
    return `${name || 'Error'}: ${typeof message === 'string' ? slice(message, 0, TEXT_LENGTH) : ''}`
  }
  if (value instanceof RealDate || value instanceof RegExp) return toText(value)
  if (value instanceof Promise) return 'Promise'
  if (value instanceof URL || value instanceof URLSearchParams) return toText(value)
  if (depth < 0) return isArray(value) ? '[Array]' : `[${name || 'Object'}]`

  const inner = copyWith(above, value)
  const parts: string[] = []
  const add = (text: string): boolean => {
    if (parts.length < ITEMS) push(parts, text)
    return parts.length < ITEMS
  }
  const list = isArray(value) || (isView(value) && 'length' in value)
  let prefix = list && !isArray(value) ? name : ''
  if (list) {
    const { length } = value as ArrayLike<unknown>
    for (let i = 0; i < length && add(show(elementOf(value, i), depth - 1, inner)); i++);
    if (length > ITEMS) push(parts, `… ${length - ITEMS} more`)
    if (prefix !== '') prefix += `(${length}) `
  } else if (value instanceof Map) {
    prefix = `${name}(${value.size}) `
    mapForEach(value, (item: unknown, key: unknown) => {
      add(`${show(key, depth - 1, inner)} => ${show(item, depth - 1, inner)}`)
    })
  } else if (value instanceof Set) {
    prefix = `${name}(${value.size}) `
    setForEach(value, (item: unknown) => void add(show(item, depth - 1, inner)))
  } else {
    if (name !== 'Object') prefix = name === '' ? '' : `${name} `
    const keys = ownKeys(value)
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as PropertyKey
      const field = getOwnPropertyDescriptor(value, key)
      if (field?.enumerable !== true) continue
      const shown = field.get === undefined ? show(field.value, depth - 1, inner) : '[Getter]'
      if (!add(`${keyText(key)}: ${shown}`)) {
        push(parts, `… ${keys.length - ITEMS} more`)
        break
      }
    }
  }
  return prefix + enclosed(parts, list)
}

function elementOf(value: object, index: number): unknown {
  return isArray(value) ? dataOf(value, index) : (value as Record<number, unknown>)[index]
}

function keyText(key: PropertyKey): string {
  if (typeof key === 'symbol') return `[${toText(key)}]`
  const text = toText(key)
  for (let i = 0; i < text.length; i++) {
    const c = text[i] as string
    const word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c === '_' || c === '$'
    if (!word && !(i > 0 && c >= '0' && c <= '9')) return quoted(text)
  }
  return text === '' ? "''" : text
}

function enclosed(parts: string[], list: boolean): string {
  const open = list ? '[' : '{'
  const close = list ? ']' : '}'
  if (parts.length === 0) return open + close
  const line = `${open} ${join(parts, ', ')} ${close}`
  if (line.length <= WIDTH) return line
  const indented: string[] = []
  for (let i = 0; i < parts.length; i++) push(indented, indent(parts[i] as string))
  return `${open}\n${join(indented, ',\n')}\n${close}`
}

function indent(text: string): string {
  let out = '  '
  for (let i = 0; i < text.length; i++) out += text[i] === '\n' ? '\n  ' : (text[i] as string)
  return out
}
