/** Plots as plain SVG, readable on light and on dark pages. */
import { ratio, type Measured, type Report } from './files-report.ts'
import { median } from './measure.ts'

const WIDTH = 860
const LEFT = 270
const RIGHT = 20
const ROW_HEIGHT = 22
const TOP = 78
/** A ratio below is drawn at the edge. */
const LEAST_RATIO = 0.003
const MOST_RATIO = 3

/** Told apart by shape as well as by colour (Okabe and Ito's, which most eyes tell apart). */
const MARKS: readonly [Mark, ...Mark[]] = [
  { colour: '#0072b2', shape: 'circle' },
  { colour: '#56b4e9', shape: 'diamond' },
  { colour: '#009e73', shape: 'square' },
  { colour: '#e69f00', shape: 'triangle' },
  { colour: '#d55e00', shape: 'cross' },
  { colour: '#cc79a7', shape: 'square' },
  { colour: '#8a8a8a', shape: 'diamond' },
  { colour: '#a6761d', shape: 'circle' },
]

interface Mark {
  readonly colour: string
  readonly shape: 'circle' | 'diamond' | 'square' | 'triangle' | 'cross'
}

const STYLE = `<style>
  svg { background: #ffffff; font: 12px system-ui, sans-serif; }
  text { fill: #222222; }
  .title { font-size: 15px; font-weight: 600; }
  .grid { stroke: #dddddd; }
  .one { stroke: #222222; stroke-width: 1.5; }
  .aim { stroke: #222222; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    svg { background: #16181c; }
    text { fill: #e4e4e4; }
    .grid { stroke: #3a3d42; }
    .one, .aim { stroke: #e4e4e4; }
  }
</style>`

/** One line a row, a mark a place, the ratio to the backing directory on a log scale. */
export function plotRatios(report: Report, kind: Measured['kind'], title: string): string {
  const rows = report.rows.filter((row) => row.kind === kind)
  const places = report.places.slice(1)
  const bottom = TOP + rows.length * ROW_HEIGHT
  const x = logScale(LEAST_RATIO, MOST_RATIO, LEFT, WIDTH - RIGHT)
  const parts = [text(16, 24, title, 'class="title"'), legend(places, 16, 46)]
  for (const tick of [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3]) {
    parts.push(line(x(tick), TOP - 6, x(tick), bottom, tick === 1 ? 'one' : 'grid'))
    parts.push(text(x(tick), bottom + 18, `${tick}`, 'text-anchor="middle"'))
  }
  parts.push(
    text(
      (LEFT + WIDTH - RIGHT) / 2,
      bottom + 38,
      'ratio to the backing directory (log scale; more is better; the bar is the aim)',
      'text-anchor="middle"',
    ),
  )
  rows.forEach((row, i) => {
    const y = TOP + (i + 0.5) * ROW_HEIGHT
    parts.push(text(LEFT - 10, y + 4, row.label, 'text-anchor="end"'))
    parts.push(line(LEFT, y, WIDTH - RIGHT, y, 'grid'))
    if (row.aim !== null) parts.push(line(x(row.aim), y - 8, x(row.aim), y + 8, 'aim'))
    // Ours last, so on top.
    for (const [at, place] of [...places.entries()].toReversed()) {
      const value = ratio(row, place)
      if (value !== undefined) parts.push(draw(markOf(at), x(value), y, place === 'insitu' ? 6 : 5))
    }
  })
  return svg(bottom + 50, title, parts)
}

/** How the rate changes with the number of files in the directory; both scales logarithmic. */
export function plotGrowth(report: Report, name: string): string {
  const rows = report.rows.filter((row) => row.name === name)
  const counts = rows.map((row) => row.count)
  const height = 360
  const bottom = height - 60
  const speeds = rows.flatMap((row) => Object.values(row.samples).map((samples) => median(samples)))
  const x = logScale(Math.min(...counts), Math.max(...counts), 90, WIDTH - 170)
  const low = 10 ** Math.floor(Math.log10(Math.min(...speeds)))
  const high = 10 ** Math.ceil(Math.log10(Math.max(...speeds)))
  const y = logScale(low, high, bottom, 50)
  const title = `${name}: how the cost grows with the directory`
  const parts = [text(16, 24, title, 'class="title"')]
  for (let tick = low; tick <= high * 1.01; tick *= 10) {
    parts.push(line(90, y(tick), WIDTH - 170, y(tick), 'grid'))
    parts.push(text(82, y(tick) + 4, tick.toLocaleString('en'), 'text-anchor="end"'))
  }
  for (const count of counts) {
    parts.push(line(x(count), 50, x(count), bottom, 'grid'))
    parts.push(text(x(count), bottom + 18, count.toLocaleString('en'), 'text-anchor="middle"'))
  }
  parts.push(text((90 + WIDTH - 170) / 2, bottom + 40, 'files in it', 'text-anchor="middle"'))
  parts.push(
    text(0, 0, 'files a second', `text-anchor="middle" transform="translate(16 175) rotate(-90)"`),
  )
  const names: { readonly place: string; readonly mark: Mark; readonly at: number }[] = []
  for (const [at, place] of report.places.entries()) {
    const mark: Mark = at === 0 ? { colour: '#7f7f7f', shape: 'circle' } : markOf(at - 1)
    const points = rows.flatMap((row) => {
      const samples = row.samples[place]
      return samples === undefined ? [] : [[x(row.count), y(median(samples))] as const]
    })
    const last = points.at(-1)
    if (last === undefined) continue
    const along = points.map((point) => point.map((value) => value.toFixed(1)).join()).join(' ')
    const dashes = at === 0 ? ' stroke-dasharray="5 4"' : ''
    parts.push(
      `<polyline points="${along}" fill="none" stroke="${mark.colour}" stroke-width="2"${dashes}/>`,
      ...points.map(([px, py]) => draw(mark, px, py, 4)),
    )
    names.push({ place, mark, at: last[1] })
  }
  // Beside the ends of their lines, moved apart where those meet.
  let free = 0
  for (const { place, mark, at } of names.toSorted((a, b) => a.at - b.at)) {
    free = Math.max(at, free + 16)
    parts.push(draw(mark, WIDTH - 152, free, 5), text(WIDTH - 140, free + 4, place))
  }
  return svg(height, title, parts)
}

function logScale(least: number, most: number, from: number, to: number): (v: number) => number {
  const span = Math.log(most / least)
  return (value) =>
    from + ((to - from) * Math.log(Math.min(most, Math.max(least, value)) / least)) / span
}

const markOf = (at: number): Mark => MARKS[at % MARKS.length] ?? MARKS[0]

function draw({ colour, shape }: Mark, x: number, y: number, size: number): string {
  const path: Record<Mark['shape'], string> = {
    circle: '',
    square: `M${-size} ${-size}h${2 * size}v${2 * size}h${-2 * size}z`,
    diamond: `M0 ${-size - 1}l${size + 1} ${size + 1}l${-size - 1} ${size + 1}l${-size - 1} ${-size - 1}z`,
    triangle: `M0 ${-size}l${size} ${2 * size}h${-2 * size}z`,
    cross: `M${-size} ${-size}l${2 * size} ${2 * size}M${size} ${-size}l${-2 * size} ${2 * size}`,
  }
  const at = `transform="translate(${x.toFixed(1)} ${y.toFixed(1)})"`
  if (shape === 'circle') return `<circle r="${size}" fill="${colour}" ${at}/>`
  const paint =
    shape === 'cross' ? `fill="none" stroke="${colour}" stroke-width="2.5"` : `fill="${colour}"`
  return `<path d="${path[shape]}" ${paint} ${at}/>`
}

function legend(places: readonly string[], left: number, y: number): string {
  let x = left
  return places
    .map((place, at) => {
      const entry = draw(markOf(at), x + 6, y - 4, 5) + text(x + 17, y, place)
      x += 30 + place.length * 7
      return entry
    })
    .join('')
}

function line(x1: number, y1: number, x2: number, y2: number, name: string): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1))
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" class="${name}"/>`
}

function text(x: number, y: number, words: string, attributes = ''): string {
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped}</text>`
}

function svg(height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${title}</title>`,
    STYLE,
    ...parts,
    '</svg>\n',
  ].join('\n')
}
