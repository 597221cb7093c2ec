/**
 * The same random steps over a mount, over a plain directory and over the reference model: all three
 * say the same at each step, and look the same in the end. A failure shrinks, and prints its seed;
 * `SEED=N` repeats it, `INSITU_LONG=1` goes on for longer.
 */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { FILE_SERVER } from '../support/file-server.ts'
import { modelMount } from '../support/fuse-model/mount.ts'
import { type Step, steps, Walker } from '../support/fuse-model/steps.ts'
import { scratchMount, whyNoFuse } from '../support/scratch-mount.ts'

const test = suite('the reference model')
const long = process.env['INSITU_LONG'] === '1'
const timeLimitMs = long ? 240_000 : 8_000
const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31)

const reason = whyNoFuse() ?? (process.getuid?.() === 0 ? undefined : 'mounting needs root')
if (reason !== undefined) {
  console.log(`SKIP the reference model: ${reason}`)
  test('is skipped', () => undefined)
} else
  test(`agrees with ${FILE_SERVER} mounts and with plain directories, seed ${seed}`, async () => {
    await using mount = await scratchMount()
    await using model = await modelMount()
    const plain = path.join(mount.scratch, 'plain')
    mkdirSync(plain)
    const places = { plain, mount: mount.mountPoint, model: model.mountPoint }
    let runs = 0
    let taken = 0
    const property = fc.property(steps, (all) => {
      runs += 1
      const walkers = Object.entries(places).map(
        ([name, place]) => [name, new Walker(path.join(place, `run-${runs}`))] as const,
      )
      try {
        for (const step of all) {
          taken += 1
          const [expected, ...others] = walkers.map(([name, walker]) => [name, walker.take(step)])
          for (const [name, outcome] of others)
            assert.is(outcome, expected?.[1], `${name}: ${JSON.stringify(step)}`)
        }
        const [expected, ...others] = walkers.map(([name, walker]) => [name, walker.see()] as const)
        for (const [name, seen] of others) assert.equal(seen, expected?.[1], `${name} in the end`)
      } finally {
        for (const [, walker] of walkers) walker.close()
      }
    })
    const found = fc.check(property, {
      seed,
      numRuns: 1_000_000,
      interruptAfterTimeLimit: timeLimitMs,
      endOnFailure: true,
    })
    if (found.failed) assert.unreachable(explain(fc.check(property, shrinkFrom(found))))
    console.log(`seed ${seed}: ${runs} sequences, ${taken} steps`)
    assert.ok(runs > 5)
  })

type Found = fc.RunDetails<[Step[]]>

/** Apart from the search, whose time may be over. */
function shrinkFrom({ counterexamplePath }: Found): fc.Parameters<[Step[]]> {
  const from = counterexamplePath === null ? {} : { path: counterexamplePath }
  return { seed, ...from, numRuns: 1_000_000, interruptAfterTimeLimit: 60_000 }
}

function explain({ counterexample, errorInstance }: Found): string {
  const all = (counterexample?.[0] ?? []).map((step) => `  ${JSON.stringify(step)}`)
  const what = errorInstance instanceof Error ? errorInstance.message : String(errorInstance)
  const details = (errorInstance as { details?: string } | null)?.details ?? ''
  return `seed ${seed}: ${what}\n${details}\n${all.join('\n')}`
}

test.run()
