/**
 * Runs every test file in a process of its own, with a deadline, two at a time where there are the
 * processors, and ends with one line `N passed, N failed`. Arguments: path fragments to select files; none runs all. `--long` runs the
 * long variants of tests that have them, and installs packages that they need.
 */
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import path from 'node:path'

import { preloadedEnvironment } from './preload.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const long = process.argv.includes('--long') || Boolean(process.env['INSITU_LONG'])
const DEADLINE_MS = Number(process.env['TEST_FILE_DEADLINE_MS'] ?? (long ? 7_200_000 : 300_000))
const args = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))

interface Outcome {
  passed: number
  failed: number
}

const files = globSync('test/**/*.test.ts', { cwd: root })
  .toSorted()
  .filter((file) => args.length === 0 || args.some((arg) => file.includes(arg)))

let passed = 0
let failed = 0
// Most wait most of their time; more at once would make each of them slow.
const lanes = Math.min(Number(process.env['TEST_LANES'] ?? 2), availableParallelism())
const queue = files.values()
await Promise.all(
  Array.from({ length: lanes }, async () => {
    for (const file of queue) {
      const outcome = await run(file)
      passed += outcome.passed
      failed += outcome.failed
    }
  }),
)
if (files.length === 0) failed += 1
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

async function run(file: string): Promise<Outcome> {
  const started = performance.now()
  const child = spawn(process.execPath, [path.join(root, file)], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...preloadedEnvironment(),
      ...(long ? { INSITU_LONG: '1' } : {}),
      FORCE_COLOR: '0',
      NODE_NO_WARNINGS: '1',
      // Most of what a test of the command line takes is Node reading TypeScript, the same each time.
      NODE_COMPILE_CACHE: path.join(root, '.cache', 'compile'),
    },
  })
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  child.stderr.on('data', (data: Buffer) => (output += data.toString()))
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    child.kill('SIGKILL')
  }, DEADLINE_MS)
  const code = await new Promise<number | null>((resolve) => child.on('exit', resolve))
  clearTimeout(timer)

  const total = count(output, 'Total')
  const good = count(output, 'Passed')
  const bad = Math.max(total - good, 0)
  // A file that ran no test, crashed, or left by another code than its tests say has failed.
  const broken = timedOut || total === 0 || (code !== 0 && bad === 0)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const verdict = broken || bad > 0 ? 'FAIL' : 'ok'
  console.log(`${verdict.padEnd(4)} ${file}  ${good}/${total}  ${seconds}s`)
  for (const line of output.split('\n'))
    if (/^\s*SKIP/.test(line)) console.log(`     ${line.trim()}`)
  if (verdict === 'FAIL') {
    if (timedOut) console.log(`     over its deadline of ${DEADLINE_MS} ms`)
    console.log(output.replace(/^/gm, '     '))
  }
  return { passed: good, failed: broken && bad === 0 ? 1 : bad }
}

/** uvu prints `Total: N` once a file. */
function count(output: string, word: string): number {
  let sum = 0
  for (const match of output.matchAll(new RegExp(`${word}:\\s+(\\d+)`, 'g')))
    sum += Number(match[1])
  return sum
}
