/**
 * Whatever writers do while others look: what a look returns was true at some moment after it began.
 *
 * The input is a counter that only grows, so "true after it began" is "not smaller than it was then";
 * and every answer is one whole state, never a mixture. Half of the schedules append (a growing log),
 * half replace the file.
 */
import * as fs from 'node:fs/promises'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text } from '../support/fake-sandbox.ts'
import { Bench } from './bench.ts'

const test = suite('compute: freshness, as a property')

type Step =
  | { readonly kind: 'write' | 'look' | 'stage' | 'rerun' }
  | { readonly kind: 'pause'; readonly turns: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Step>({ kind: 'write' }) },
  { weight: 5, arbitrary: fc.constant<Step>({ kind: 'look' }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ kind: 'stage' }, { kind: 'rerun' }) },
  {
    weight: 4,
    arbitrary: fc.nat({ max: 12 }).map((turns): Step => ({ kind: 'pause', turns })),
  },
)

test('a look never returns what was true only before it began', async () => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 2 ** 31)
  console.log(`     seed ${seed}`)
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(step, { maxLength: 40 }), async (appends, steps) => {
      await play(appends, steps)
    }),
    { seed, numRuns: 40, endOnFailure: false },
  )
})

async function play(appends: boolean, steps: readonly Step[]): Promise<void> {
  const bench: Bench = await Bench.make({
    count: async (run) => {
      const { sizeBytes } = await run.inputs.open('a')
      const bytes = await fs.readFile(bench.file('a'), 'utf8')
      return [text('result', appends ? 'x'.repeat(sizeBytes) : bytes)]
    },
  })
  try {
    let written = 0
    let staged = 0
    const write = async (): Promise<void> => {
      if (appends) {
        await bench.append('a', 'x')
      } else {
        await bench.write('next', 'x'.repeat(written + 1))
        await fs.rename(bench.file('next'), bench.file('a'))
      }
      written += 1
    }
    await bench.write('a', '')
    await bench.stage('count')
    const looks: Promise<void>[] = []
    for (const step of steps) {
      if (step.kind === 'write') await write()
      else if (step.kind === 'stage') await bench.stage(`count ${++staged}`)
      else if (step.kind === 'rerun')
        await bench.compute.control(bench.key, 'rerun', { uid: 0, gid: 0, groups: [] })
      else if (step.kind === 'look') looks.push(look(bench, written))
      else if (step.kind === 'pause')
        for (let turn = 0; turn < step.turns; turn++)
          await new Promise((resolve) => setTimeout(resolve, 0))
    }
    await Promise.all(looks)
    assert.is((await bench.look()).length, written)
  } finally {
    await bench.end()
  }
}

/** The set that is published when the wait ends is the looker's, as in the file server. */
async function look(bench: Bench, writtenBefore: number): Promise<void> {
  try {
    await bench.compute.resolve(bench.key, new AbortController().signal)
  } catch (error) {
    // Three tries were not enough against these writers: no answer is an honest one.
    assert.is((error as NodeJS.ErrnoException).code, 'EAGAIN')
    return
  }
  const sizeBytes = bench.published('current')?.results[0]?.sizeBytes ?? -1
  assert.ok(sizeBytes >= writtenBefore, `${sizeBytes} is older than ${writtenBefore}`)
}

test.run()
