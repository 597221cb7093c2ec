/** What `scripts/bench/files` found, and how it is told. */
import { median } from './measure.ts'

export interface Measured {
  /** As file-operations.cc prints it. */
  readonly name: string
  readonly label: string
  readonly count: number
  readonly unit: string
  readonly kind: 'data' | 'names'
  readonly aim: number | null
  /** By place, one a turn. */
  readonly samples: Record<string, number[]>
}

export interface Report {
  readonly date: string
  readonly quick: boolean
  readonly turns: number
  readonly seconds: number
  readonly machine: {
    readonly kernel: string
    readonly processors: number
    readonly model: string
    readonly filesystem: string
    readonly loadBefore: number
    readonly loadAfter: number
  }
  /** The backing directory comes first. */
  readonly places: readonly string[]
  readonly missing: readonly { readonly name: string; readonly why: string }[]
  readonly rows: readonly Measured[]
}

/** Insitu's own ways to mount; all others are peers. */
const OURS = new Set(['backing', 'insitu', 'exclusive', 'no passthrough'])
/** Two medians that differ by less are the same on a machine with neighbours. */
const NOISE = 0.05

/** To the backing directory: the median over the turns of the ratio within a turn. */
export function ratio(row: Measured, place: string): number | undefined {
  const base = row.samples['backing'] ?? []
  const ratios = (row.samples[place] ?? []).map((value, turn) => value / (base[turn] ?? Number.NaN))
  return ratios.length === 0 ? undefined : median(ratios)
}

function peersOf(report: Report): string[] {
  return report.places.filter((place) => !OURS.has(place))
}

interface Verdict {
  readonly reached: boolean | undefined
  /** Peers that are ahead. */
  readonly behind: string[]
}

function verdict(report: Report, row: Measured): Verdict {
  const ours = ratio(row, 'insitu')
  if (ours === undefined) return { reached: undefined, behind: [] }
  return {
    reached: row.aim === null ? undefined : ours >= row.aim,
    behind: peersOf(report).filter((peer) => (ratio(row, peer) ?? 0) > ours * (1 + NOISE)),
  }
}

export function cells(report: Report, row: Measured): string[] {
  const { reached, behind } = verdict(report, row)
  return [
    row.label,
    row.aim === null ? '' : `≥ ${row.aim}`,
    reached === undefined ? '' : reached ? 'yes' : 'no',
    ...report.places.slice(1).map((place) => shown(ratio(row, place))),
    behind.join(' '),
    `${Math.round(median(row.samples['backing'] ?? [])).toLocaleString('en')} ${row.unit}`,
  ]
}

export function heads(report: Report): string[] {
  return ['', 'aim', 'reached', ...report.places.slice(1), 'behind', 'backing']
}

function shown(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–'
  return value.toPrecision(2).includes('e') ? value.toFixed(0) : value.toFixed(value < 0.1 ? 3 : 2)
}

export function printReport(report: Report): void {
  console.log(`${summary(report)}\n`)
  const lines = [heads(report), ...report.rows.map((row) => cells(report, row))]
  const widths = lines[0]?.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)))
  for (const line of lines) {
    const padded = line.map((cell, i) =>
      i === 0 ? cell.padEnd(widths?.[i] ?? 0) : cell.padStart(widths?.[i] ?? 0),
    )
    console.log(padded.join('  '))
  }
}

export function summary({ machine, date, quick, turns, seconds }: Report): string {
  const { kernel, processors, model, filesystem, loadBefore, loadAfter } = machine
  return [
    `Ratios to the backing directory (${filesystem}), medians of ${turns} turns`,
    `${quick ? 'quick' : 'full'} run of ${seconds} s on ${date.slice(0, 16).replace('T', ' ')}`,
    `Linux ${kernel}, ${processors} × ${model}`,
    `load average ${loadBefore.toFixed(1)} before, ${loadAfter.toFixed(1)} after`,
  ].join('; ')
}
