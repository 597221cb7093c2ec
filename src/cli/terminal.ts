/** What a person at a terminal sees: progress lines and tables. */
import type { ProgramStatus } from '../compute/types.ts'
import { formatDuration, formatSize } from '../config/units.ts'
import { oneLine } from './exit.ts'

/** Quick runs pass without a word. */
const QUIET_MS = 700

/** Shows `line()` on stderr again and again, if that is a terminal. Returns what wipes it away. */
export function showProgress(line: () => Promise<string> | string): () => void {
  if (!process.stderr.isTTY) return () => {}
  const started = Date.now()
  let shown = false
  let stopped = false
  const tick = async () => {
    if (Date.now() - started < QUIET_MS) return
    const text = oneLine(await line())
    if (stopped) return
    process.stderr.write(`\r\u001b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`)
    shown = true
  }
  const timer = setInterval(() => void tick().catch(() => {}), 250)
  return () => {
    stopped = true
    clearInterval(timer)
    if (shown) process.stderr.write('\r\u001b[K')
  }
}

export function describeRun(status: ProgramStatus, nowMs = Date.now()): string {
  if (status.state === 'running') {
    const parts = [`running ${formatDuration(nowMs - Date.parse(status.startedAt ?? ''))}`]
    if (status.cpuMs !== undefined) parts.push(`cpu ${formatDuration(status.cpuMs)}`)
    if (status.peakMemoryBytes !== undefined) parts.push(formatSize(status.peakMemoryBytes))
    return parts.join(', ')
  }
  if (status.error !== undefined) return `${status.state}: ${describeError(status.error)}`
  return status.state
}

export function describeError(error: NonNullable<ProgramStatus['error']>): string {
  const place = error.line === undefined ? '' : `:${error.line}:${error.column ?? 1}`
  return oneLine(`${place === '' ? '' : `.compute${place}: `}${error.name}: ${error.message}`)
}

/** Columns padded to their widest cell; the last is left ragged. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map(oneLine))
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  return all
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0),
        )
        .join('  '),
    )
    .map((line) => `${line.trimEnd()}\n`)
    .join('')
}
