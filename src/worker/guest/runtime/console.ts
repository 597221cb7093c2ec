/** `console`: text for the program's log. Formatted here, bounded here, and again by the host. */
import { bounds, host, natives } from './border.ts'
import { inspect } from './inspect.ts'
import {
  createObject,
  floor,
  isArray,
  max,
  padEnd,
  push,
  repeat,
  slice,
  toText,
} from './primordials.ts'

/** One call's text; also what crosses the border at once. */
const CALL_LENGTH = 16 * 1024

let loggedBytes = 0
let indentation = ''

function log(text: string): void {
  if (loggedBytes >= bounds.logBytes) return
  let shown = text.length > CALL_LENGTH ? slice(text, 0, CALL_LENGTH) + '…' : text
  if (indentation !== '') {
    let out = indentation
    for (let i = 0; i < shown.length; i++) {
      out += shown[i] === '\n' ? '\n' + indentation : (shown[i] as string)
    }
    shown = out
  }
  shown += '\n'
  loggedBytes += natives.utf8Length(shown)
  host.log(shown)
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value)
}

function directive(kind: string, value: unknown): string | undefined {
  switch (kind) {
    case 's':
      return typeof value === 'object' ? inspect(value, 0) : toText(value)
    case 'd':
      return typeof value === 'object' ? 'NaN' : toText(Number(value))
    case 'i':
      return typeof value === 'object' ? 'NaN' : toText(Math.trunc(Number(value)))
    case 'f':
      return typeof value === 'object' ? 'NaN' : toText(Number(value))
    case 'j':
    case 'o':
    case 'O':
      return inspect(value)
    case 'c':
      return ''
    default:
      return undefined
  }
}

export function format(values: readonly unknown[]): string {
  let out = ''
  let next = 0
  const first = values[0]
  if (typeof first === 'string') {
    next = 1
    if (values.length === 1) return first
    for (let i = 0; i < first.length; i++) {
      const kind = first[i] === '%' ? first[i + 1] : undefined
      if (kind === '%') {
        out += '%'
        i++
        continue
      }
      const text =
        kind !== undefined && next < values.length ? directive(kind, values[next]) : undefined
      if (text === undefined) out += first[i] as string
      else {
        out += text
        next++
        i++
      }
    }
  }
  for (; next < values.length; next++) {
    if (next > 0) out += ' '
    out += plain(values[next])
  }
  return out
}

/** Rows and columns of plain text. */
function table(data: unknown): string {
  if (typeof data !== 'object' || data === null) return plain(data)
  const columns: string[] = ['']
  const rows: Record<string, string>[] = []
  const keys = Object.keys(data)
  for (let i = 0; i < keys.length && i < 1000; i++) {
    const key = keys[i] as string
    const item = (data as Record<string, unknown>)[key]
    const row = createObject(null) as Record<string, string>
    row[''] = key
    const fields = typeof item === 'object' && item !== null ? Object.keys(item) : []
    for (let k = 0; k < fields.length && k < 50; k++) {
      const field = fields[k] as string
      row[field] = plain((item as Record<string, unknown>)[field])
      if (!columns.includes(field)) push(columns, field)
    }
    if (fields.length === 0) {
      row['value'] = plain(item)
      if (!columns.includes('value')) push(columns, 'value')
    }
    push(rows, row)
  }
  const lines = ['']
  for (let i = 0; i < rows.length; i++) lines[i + 1] = ''
  for (let c = 0; c < columns.length; c++) {
    const column = columns[c] as string
    let width = column.length
    for (const row of rows) width = max(width, (row[column] ?? '').length)
    lines[0] += padEnd(column, width + 2)
    for (let i = 0; i < rows.length; i++) {
      lines[i + 1] += padEnd(rows[i]?.[column] ?? '', width + 2)
    }
  }
  return lines.map((line) => line.trimEnd()).join('\n')
}

export function createConsole(): object {
  const write = (...values: unknown[]): void => log(format(values))
  const counts = createObject(null) as Record<string, number>
  return {
    log: write,
    info: write,
    debug: write,
    warn: write,
    error: write,
    trace: (...values: unknown[]) => log(`Trace: ${format(values)}`),
    dir: (value: unknown) => log(inspect(value)),
    table: (data: unknown) =>
      log(isArray(data) || typeof data === 'object' ? table(data) : plain(data)),
    assert(condition: unknown, ...values: unknown[]) {
      if (!condition)
        log(values.length === 0 ? 'Assertion failed' : `Assertion failed: ${format(values)}`)
    },
    count(label: unknown = 'default') {
      const name = toText(label)
      counts[name] = (counts[name] ?? 0) + 1
      log(`${name}: ${counts[name]}`)
    },
    group(...values: unknown[]) {
      if (values.length > 0) write(...values)
      if (indentation.length < 40) indentation += '  '
    },
    groupEnd() {
      indentation = repeat('  ', max(0, floor(indentation.length / 2) - 1))
    },
    // The clock stands still.
    time() {},
    timeEnd() {},
    timeLog() {},
  }
}
