/** Puts what was measured into docs/performance.md, with its plots. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { plotGrowth, plotRatios } from './files-plots.ts'
import { cells, heads, summary, type Report } from './files-report.ts'
import { root } from './measure.ts'

/** The table of docs/performance.md between its marks, and the plots beside it. */
export function writeDocs(report: Report): void {
  const folder = path.join(root, 'docs/performance')
  mkdirSync(folder, { recursive: true })
  for (const [kind, title] of [
    ['data', 'Data: speed against the backing directory'],
    ['names', 'Names: speed against the backing directory'],
  ] as const)
    writeFileSync(path.join(folder, `${kind}.svg`), plotRatios(report, kind, title))
  for (const [name, file] of [
    ['readdir + stat', 'growth-list'],
    ['open + read 4K + close', 'growth-open'],
    ['create', 'growth-create'],
  ] as const)
    writeFileSync(path.join(folder, `${file}.svg`), plotGrowth(report, name))
  const page = path.join(root, 'docs/performance.md')
  const text = readFileSync(page, 'utf8')
  const marked = /(<!-- results -->\n)[^]*(<!-- end of results -->)/
  if (!marked.test(text)) throw new Error(`${page} has no marks for the results`)
  writeFileSync(
    page,
    text.replace(marked, (_, begin, end) => `${begin}${table(report)}${end}`),
  )
}

function table(report: Report): string {
  const line = (words: readonly string[]): string => `| ${words.join(' | ')} |\n`
  const missing = report.missing.map(({ name, why }) => `${name} (${why})`).join('; ')
  return [
    `\n${summary(report)}.\n\n`,
    line(heads(report)),
    line(heads(report).map((_, i) => (i === 0 ? '---' : '--:'))),
    ...report.rows.map((row) => line(cells(report, row))),
    missing === '' ? '' : `\nNot there: ${missing}.\n`,
    '\n',
  ].join('')
}
