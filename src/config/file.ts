/** Reads `insitu.yaml`: all mistakes at once, each with its place, or the configuration. */
import { readFile } from 'node:fs/promises'
import { Compile } from 'typebox/compile'
import { Settings } from 'typebox/system'
import { isMap, isPair, isScalar, LineCounter, parseDocument, type Document } from 'yaml'
import { checkFile, checkPlaces, type Names } from './checks.ts'
import { convert } from './converted.ts'
import { FileSchema, type File } from './schema.ts'
import type { Mistake, ServeConfiguration } from './served.ts'

/** Ten thousand tenants fit. */
const MAX_FILE_BYTES = 8 * 1024 * 1024
const MAX_MISTAKES = 100
/** Aliases may stand for each other many times over. */
const MAX_ALIASES = 1_000

export type Loaded =
  | { readonly configuration: ServeConfiguration; readonly mistakes?: undefined }
  | { readonly mistakes: readonly [Mistake, ...Mistake[]]; readonly configuration?: undefined }

/** Rejects where the file cannot be read at all. */
export async function loadConfiguration(file: string): Promise<Loaded> {
  return parseConfiguration(await readFile(file, 'utf8'))
}

export function parseConfiguration(text: string): Loaded {
  const lines = new LineCounter()
  const mistakes: Mistake[] = []
  const at = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  if (Buffer.byteLength(text) > MAX_FILE_BYTES)
    return { mistakes: [{ line: 1, column: 1, key: '', message: 'the file is over 8 MiB' }] }
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
  })
  let broken = false
  for (const { pos, code, message } of [...document.errors, ...document.warnings]) {
    const twice = code === 'DUPLICATE_KEY'
    broken ||= !twice
    const key = twice ? (/^[^\s:]+/.exec(text.slice(pos[0]))?.[0] ?? '') : ''
    const told = twice ? 'stands here twice' : sentence(message)
    mistakes.push({ ...at(pos[0]), key, message: told })
  }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES }) ?? {}
  } catch (error) {
    broken = true
    mistakes.push({ line: 1, column: 1, key: '', message: sentence(String(error)) })
  }
  const complain = (key: readonly string[], message: string): void => {
    mistakes.push({ ...at(offsetOf(document, key)), key: key.join('.'), message })
  }
  if (!broken) {
    checkShape(value, complain)
    const fits = whatFits(value)
    if (fits !== undefined) checkFile(fits, complain, namesIn(value))
    const inParts = whatFits(value, true)
    if (inParts !== undefined) checkPlaces(inParts, complain)
  }
  const [first, ...rest] = mistakes
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .slice(0, MAX_MISTAKES)
  if (first !== undefined) return { mistakes: [first, ...rest] }
  return { configuration: convert(value as File) }
}

const shape = Compile(FileSchema)

interface SchemaError {
  readonly keyword: string
  readonly schemaPath: string
  readonly instancePath: string
  readonly params: object
  readonly message: string
}

function checkShape(
  value: unknown,
  complain: (key: readonly string[], message: string) => void,
): void {
  const told = new Set<string>()
  for (const error of allErrors(value)) {
    const key = partsOf(error.instancePath)
    const say = (where: readonly string[], message: string): void => {
      const id = where.join('\0')
      if (told.has(id)) return // one sentence for each place does
      told.add(id)
      complain(where, message)
    }
    switch (error.keyword) {
      case 'boolean':
        say(key, unknownKey(error, key.at(-1) ?? ''))
        break
      case 'additionalProperties': // all of them were told one by one
        break
      case 'required': {
        const { requiredProperties } = error.params as { requiredProperties: string[] }
        const missing = requiredProperties.map((name) => `"${name}"`).join(', ')
        say(key, `${missing} ${requiredProperties.length === 1 ? 'is' : 'are'} missing`)
        break
      }
      case 'uniqueItems':
        say(key, 'something stands in this list twice')
        break
      default:
        say(key, `expected ${expectationOf(error) ?? error.message}`)
    }
  }
}

/**
 * Without what does not fit the schema, so that the rest can be looked at too. `inParts`: what lacks
 * something required stays, as a tenant whose home is wrong as well.
 */
function whatFits(value: unknown, inParts = false): File | undefined {
  const copy: unknown = structuredClone(value)
  for (let rounds = 0; rounds < 4; rounds += 1) {
    // Each key that is too many has an error of its own; this one would take all beside it along.
    const errors = allErrors(copy).filter(
      ({ keyword }) => keyword !== 'additionalProperties' && !(inParts && keyword === 'required'),
    )
    if (errors.length === 0) return copy as File
    for (const error of errors) {
      const key = partsOf(error.instancePath)
      const last = key.pop()
      if (last === undefined) continue
      const around = key.reduce<unknown>(
        (at, part) => (at as Record<string, unknown> | undefined)?.[part],
        copy,
      )
      // A hole in a list would be a mistake of its own.
      if (Array.isArray(around)) around.splice(Number(last), 1)
      else if (typeof around === 'object' && around !== null) Reflect.deleteProperty(around, last)
    }
  }
  return undefined
}

/** Also of those that do not fit: what names them is right. */
function namesIn(value: unknown): Names {
  const { tenants, volumes } = (value ?? {}) as { tenants?: unknown; volumes?: unknown }
  const keys = (of: unknown): Set<string> =>
    new Set(typeof of === 'object' && of !== null ? Object.keys(of) : [])
  return { tenants: keys(tenants), volumes: keys(volumes) }
}

/** The bound is of the process; 8 is what it is elsewhere. */
function allErrors(value: unknown): SchemaError[] {
  const { maxErrors } = Settings.Get()
  Settings.Set({ maxErrors: 10 * MAX_MISTAKES })
  try {
    return shape.Errors(value)
  } finally {
    Settings.Set({ maxErrors })
  }
}

function unknownKey(error: SchemaError, name: string): string {
  const schema = schemaAt(error.schemaPath.replace(/\/additionalProperties$/, ''))
  if (schema?.['patternProperties'] !== undefined)
    return 'expected a name: letters, digits, ".", "_" and "-", at most 63, beginning with a letter or digit'
  const known = Object.keys((schema?.['properties'] as object | undefined) ?? {})
  const near = known.find((each) => isNear(each.toLowerCase(), name.toLowerCase()))
  return near === undefined
    ? `unknown key; known are ${known.join(', ')}`
    : `unknown key; did you mean "${near}"?`
}

/** One letter more, less, or another. */
function isNear(a: string, b: string): boolean {
  let from = 0
  while (from < a.length && a[from] === b[from]) from += 1
  let end = 0
  while (end < Math.min(a.length, b.length) - from && a.at(-1 - end) === b.at(-1 - end)) end += 1
  return a.length - from - end <= 1 && b.length - from - end <= 1
}

function expectationOf({ schemaPath }: SchemaError): string | undefined {
  const expects = schemaAt(schemaPath)?.['expects']
  return typeof expects === 'string' ? expects : undefined
}

/** `#/properties/tenants/patternProperties/…`; no name in ours holds a slash. */
function schemaAt(path: string): Readonly<Record<string, unknown>> | undefined {
  let schema: unknown = FileSchema
  for (const part of partsOf(path.replace(/^#/, '')))
    schema = (schema as Record<string, unknown> | undefined)?.[part]
  return schema as Readonly<Record<string, unknown>> | undefined
}

/** Of a JSON pointer. */
function partsOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** Of the key itself, or of the item; where there is none, of what is around it. */
function offsetOf(document: Document, key: readonly string[]): number {
  const last = key.at(-1)
  if (last === undefined) return document.contents?.range?.[0] ?? 0
  const around: unknown =
    key.length === 1 ? document.contents : document.getIn(key.slice(0, -1), true)
  if (isMap(around)) {
    const pair = around.items.find(({ key }) => isScalar(key) && String(key.value) === last)
    if (isPair(pair) && isScalar(pair.key)) return pair.key.range?.[0] ?? 0
  }
  const node: unknown = document.getIn(key, true)
  const range = (node as { range?: readonly number[] } | undefined)?.range
  return range?.[0] ?? offsetOf(document, key.slice(0, -1))
}

function sentence(message: string): string {
  const [line = ''] = message.split('\n')
  return line.charAt(0).toLowerCase() + line.slice(1)
}
