/**
 * Ordinary files: every row on the backing directory and on a mount of it, in turns, as a ratio.
 * `scripts/bench/files [ROUNDS]`; with bindfs installed, beside it.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { compile, median, mountFresh, row } from './measure.ts'

const ROWS = ['sequential', 'random', 'direct', 'mmap', 'stat', 'list', 'names', 'open', 'tree']
const rounds = Number(process.argv[2] ?? 3)

interface Place {
  readonly name: string
  readonly folder: string
}

await using mount = await mountFresh()
const program = compile('file-operations.cc', mount.scratch)
const places: Place[] = [
  { name: 'backing', folder: path.join(mount.backing, 'plain') },
  { name: 'insitu', folder: path.join(mount.mountPoint, 'mounted') },
]
const peer = path.join(mount.scratch, 'bindfs')
if (spawnSync('bindfs', ['--version']).status === 0) {
  mkdirSync(peer)
  execFileSync('bindfs', [mount.backing, peer])
  places.push({ name: 'bindfs', folder: path.join(peer, 'peer') })
}
try {
  const speeds = new Map<string, Map<string, number[]>>()
  for (const rows of ROWS) {
    for (let round = 0; round < rounds; round += 1) {
      for (const place of places) measure(place, rows, speeds)
    }
  }
  row('ratio to the backing directory', ...places.slice(1).map((place) => place.name), 'backing/s')
  for (const [name, byPlace] of speeds) {
    const base = median(byPlace.get('backing') ?? [])
    row(name, ...places.slice(1).map((place) => median(byPlace.get(place.name) ?? []) / base), base)
  }
} finally {
  if (places.length > 2) execFileSync('fusermount3', ['-u', '-z', peer])
}

function measure(place: Place, rows: string, speeds: Map<string, Map<string, number[]>>): void {
  mkdirSync(place.folder, { recursive: true })
  const output = execFileSync(program, [place.folder, rows], { encoding: 'utf8' })
  rmSync(place.folder, { recursive: true })
  for (const line of output.trim().split('\n')) {
    const [name = '', value = ''] = line.split('\t')
    const byPlace = speeds.get(name) ?? new Map<string, number[]>()
    speeds.set(name, byPlace)
    byPlace.set(place.name, [...(byPlace.get(place.name) ?? []), Number(value)])
  }
}
