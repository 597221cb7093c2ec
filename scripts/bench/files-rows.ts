/** What `scripts/bench/files` measures: the rows, their sizes and aims. */

export interface RowGroup {
  /** The word that file-operations.cc knows it by. */
  readonly key: string
  /** How many files there are; several show how the cost grows. */
  readonly counts: readonly number[]
  /** What it prints. */
  readonly rows: readonly Row[]
}

export interface Row {
  readonly name: string
  readonly unit: 'MiB/s' | '/s'
  readonly kind: 'data' | 'names'
  /** At least this ratio to the backing directory; undefined: only before every peer. */
  readonly aim?: number
}

export interface Scale {
  readonly turns: number
  readonly seconds: number
  readonly counts: readonly number[]
  readonly bigMiB: number
  readonly treeFiles: number
  readonly repositoryFiles: number
}

/** Under 2 minutes. */
export const QUICK: Scale = {
  turns: 2,
  seconds: 0.08,
  counts: [10, 1_000],
  bigMiB: 64,
  treeFiles: 200,
  repositoryFiles: 2_000,
}

/** Under 12 minutes. */
export const FULL: Scale = {
  turns: 3,
  seconds: 0.25,
  counts: [10, 1_000, 100_000],
  bigMiB: 128,
  treeFiles: 500,
  repositoryFiles: 10_000,
}

export function rowGroups(scale: Scale): RowGroup[] {
  const some = [1_000]
  const data = (name: string, aim?: number): Row => ({
    name,
    unit: name.startsWith('4K') ? '/s' : 'MiB/s',
    kind: 'data',
    ...(aim === undefined ? {} : { aim }),
  })
  const names = (name: string, aim?: number): Row => ({
    name,
    unit: '/s',
    kind: 'names',
    ...(aim === undefined ? {} : { aim }),
  })
  return [
    { key: 'read', counts: some, rows: [data('sequential read', 0.95)] },
    { key: 'write', counts: some, rows: [data('sequential write', 0.95)] },
    {
      key: 'random',
      counts: some,
      rows: [data('4K random read', 0.9), data('4K random write', 0.85)],
    },
    {
      key: 'direct',
      counts: some,
      rows: [data('4K random read, direct', 0.9), data('4K random write, direct', 0.85)],
    },
    { key: 'mmap', counts: some, rows: [data('mmap read', 0.95)] },
    { key: 'warm', counts: some, rows: [names('stat, warm', 0.9)] },
    { key: 'missing', counts: some, rows: [names('stat, missing', 0.9)] },
    { key: 'cold', counts: scale.counts, rows: [names('stat, cold')] },
    { key: 'list', counts: scale.counts, rows: [names('readdir + stat', 0.9)] },
    { key: 'open', counts: scale.counts, rows: [names('open + read 4K + close', 0.1)] },
    {
      key: 'names',
      counts: scale.counts,
      rows: [names('create', 0.2), names('rename'), names('unlink', 0.2)],
    },
    { key: 'four', counts: some, rows: [names('open + read + close, 4 processes', 0.1)] },
    { key: 'two', counts: some, rows: [names('open + read + close, 2 mounts at once', 0.1)] },
    { key: 'copy', counts: [scale.treeFiles], rows: [names('copy of a small-file tree')] },
    { key: 'git', counts: [scale.repositoryFiles], rows: [names('git status')] },
  ]
}

/** A row's name with its size, where there are several. */
export function label(group: RowGroup, row: Row, count: number): string {
  const sized = group.counts.length > 1 || group.key === 'git' || group.key === 'copy'
  return sized ? `${row.name}, ${count.toLocaleString('en')} files` : row.name
}
