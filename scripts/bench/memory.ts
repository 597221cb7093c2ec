/**
 * Memory in MiB: an idle daemon, with a warm worker, with 10,000 attached programs.
 * `scripts/bench/memory [PROGRAMS]`
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { mountFresh, residentMiB, row } from './measure.ts'

const programs = Number(process.argv[2] ?? 10_000)

await using mount = await mountFresh()
const memoryOf = (pid: number): number => residentMiB(readFileSync(`/proc/${pid}/status`, 'utf8'))

/** Resident memory of every descendant. */
function descendants(pid: number): { pid: number; name: string }[] {
  const found: { pid: number; name: string }[] = []
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim()
    for (const child of children.split(' ').filter(Boolean).map(Number)) {
      const name = readFileSync(`/proc/${child}/comm`, 'utf8').trim()
      found.push({ pid: child, name }, ...descendants(child))
    }
  }
  return found
}

row('MiB resident', 'daemon', 'a program')
const idle = memoryOf(mount.daemonPid)
row('idle', idle)

const first = path.join(mount.mountPoint, 'first')
mkdirSync(first)
writeFileSync(path.join(first, '.compute'), 'export default () => 1\n')
readFileSync(path.join(first, '.results/result'))
row('after one run', memoryOf(mount.daemonPid))
for (const child of descendants(mount.daemonPid))
  row(`  ${child.name} ${child.pid}`, memoryOf(child.pid))

for (let i = 0; i < programs; i += 1) {
  const folder = path.join(mount.mountPoint, `d${i}`)
  mkdirSync(folder)
  writeFileSync(path.join(folder, '.compute'), `export default () => ${i}\n`)
}
const full = memoryOf(mount.daemonPid)
row(`${programs} programs attached`, full, (full - idle) / programs)
