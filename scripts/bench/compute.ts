/**
 * Programs: how long from `close` of `.compute` to the answer, beside spawning `node -e`; an unchanged
 * result beside a plain file on the same mount. `scripts/bench/compute [ROUNDS]`
 */
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  openSync,
  closeSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { median, mountFresh, quantile, row } from './measure.ts'

const rounds = Number(process.argv[2] ?? 300)

await using mount = await mountFresh()
const folder = path.join(mount.mountPoint, 'data')
mkdirSync(folder)
const program = path.join(folder, '.compute')
const answer = path.join(folder, '.results/result')

const latencies: number[] = []
for (let i = 0; i < rounds; i += 1) {
  const fd = openSync(program, 'w')
  writeFileSync(fd, `export default () => 'answer ${i}'\n`)
  const start = performance.now()
  closeSync(fd)
  const text = readFileSync(answer, 'utf8')
  latencies.push(performance.now() - start)
  if (text !== `answer ${i}`) throw new Error(`wrong answer in round ${i}: ${text}`)
  // A pause as between two commands; the pool refills meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 10))
}
const spawns: number[] = []
for (let i = 0; i < 15; i += 1) {
  const start = performance.now()
  execFileSync(process.execPath, ['-e', '"answer"'])
  spawns.push(performance.now() - start)
}
row('ms', 'p50', 'p99', 'p50/node -e')
row(
  'close to result read',
  quantile(latencies, 0.5),
  quantile(latencies, 0.99),
  median(latencies) / median(spawns),
)
row('node -e', median(spawns), quantile(spawns, 0.99), 1)

writeFileSync(path.join(folder, 'plain'), 'answer 000')
const buffer = Buffer.alloc(4096)
function readings(file: string): number {
  const count = 3000
  const start = performance.now()
  for (let i = 0; i < count; i += 1) {
    const fd = openSync(file, 'r')
    readSync(fd, buffer)
    closeSync(fd)
  }
  return (count * 1000) / (performance.now() - start)
}
function stats(file: string): number {
  const count = 3000
  const start = performance.now()
  for (let i = 0; i < count; i += 1) statSync(file)
  return (count * 1000) / (performance.now() - start)
}
const results: number[] = []
const plains: number[] = []
for (let turn = 0; turn < 7; turn += 1) {
  plains.push(readings(path.join(folder, 'plain')))
  results.push(readings(answer))
}
console.log()
row('a second', 'result', 'plain file', 'ratio')
row('open+read+close, unchanged', median(results), median(plains), median(results) / median(plains))
const plainStats = stats(path.join(folder, 'plain'))
const resultStats = stats(answer)
row('stat, unchanged', resultStats, plainStats, resultStats / plainStats)
