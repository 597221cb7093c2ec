/** A child of broker.ts: ordinary operations in the directory, for so many milliseconds; how many a second. */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const [directory = '.', ms = '1000'] = process.argv.slice(2)
const at = (name: string): string => path.join(directory, `operations-${name}`)
rmSync(at('d'), { recursive: true, force: true })
mkdirSync(at('d'))
writeFileSync(at('d/kept'), Buffer.alloc(64 * 1024))
const began = performance.now()
let rounds = 0
for (; performance.now() - began < Number(ms); rounds += 1) {
  writeFileSync(at('d/new'), 'some bytes')
  readFileSync(at('d/kept'))
  statSync(at('d/new'))
  renameSync(at('d/new'), at('d/other'))
  rmSync(at('d/other'))
}
process.stdout.write(String((rounds * 5_000) / (performance.now() - began)))
