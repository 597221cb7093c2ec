/** Puts what scripts/bench/broker found into docs/performance.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import path from 'node:path'
import { root } from './measure.ts'

export interface Table {
  readonly head: readonly string[]
  readonly rows: (readonly (string | number)[])[]
}

const MARKED = /(<!-- broker results -->\n)[^]*(<!-- end of broker results -->)/

export function writeBrokerDocs(tables: readonly Table[]): void {
  const page = path.join(root, 'docs/performance.md')
  const text = readFileSync(page, 'utf8')
  if (!MARKED.test(text)) throw new Error(`${page} has no marks for the broker's results`)
  const load = loadavg()[0] ?? 0
  const machine = `Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? ''}`
  const when = new Date().toISOString().slice(0, 16).replace('T', ' ')
  const about = `\nOn ${when}; ${machine}; load average ${load.toFixed(1)}.\n\n`
  const body = tables.map(markdown).join('\n')
  writeFileSync(
    page,
    text.replace(MARKED, (_, begin: string, end: string) => `${begin}${about}${body}\n${end}`),
  )
}

function markdown({ head, rows }: Table): string {
  const line = (cells: readonly (string | number)[]): string =>
    `| ${cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(2) : cell)).join(' | ')} |\n`
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '--:'))), ...rows.map(line)].join(
    '',
  )
}
