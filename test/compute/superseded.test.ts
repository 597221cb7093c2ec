/** A run that was superseded in its last moment publishes nothing. */
import { pbkdf2 } from 'node:crypto'
import { open } from 'node:fs/promises'
import * as fs from 'node:fs/promises'
import { openSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text } from '../support/fake-sandbox.ts'
import { Bench, door, ROOT, until } from './bench.ts'

const test = suite('compute: superseded')

test('a rerun between storing a set and publishing it', async () => {
  const second = door()
  let runs = 0
  let superseded = false
  const busy: Promise<void>[] = []
  const files = {
    ...fs,
    rename: async (from: string, to: string): Promise<void> => {
      await fs.rename(from, to)
      if (superseded || !to.endsWith('/1')) return
      superseded = true
      // Every thread of the pool is taken, so the spool's descriptor closes a while later.
      for (let i = 0; i < 16; i += 1)
        busy.push(
          new Promise((done) => pbkdf2('x', 'x', 200_000, 32, 'sha256', () => done(undefined))),
        )
      setImmediate(() => void bench.compute.control(bench.key, 'rerun', ROOT))
    },
  }
  const bench = await Bench.make(
    {
      spooled: async () => {
        runs += 1
        if (runs > 1) await second.opened
        const usage = { wallMs: 1, cpuMs: 1, peakMemoryBytes: 1 }
        const results = [text('result', `run ${runs}`)]
        return { status: 'ok', results, spoolFd: openSync('/dev/null', 'r'), usage }
      },
    },
    { store: { files: files as typeof fs, spares: 0 } },
  )
  await bench.stage('spooled')
  await until(() => runs === 2)
  await Promise.all(busy)
  // Through the pool once more: what was queued there has been done.
  await (await open('/dev/null')).close()
  await new Promise(setImmediate)
  assert.is(bench.published('current'), undefined, 'the old set is not served for the new run')
  second.open()
  assert.is(await bench.look(), 'run 2')
  await bench.end()
})

test.run()
