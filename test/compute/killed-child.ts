/**
 * An engine that is to be killed: attaches, looks, changes its input, and holds the second run's
 * store at its Nth call. Prints one word a step. Arguments: root, N (0: in the run itself).
 */
import * as fs from 'node:fs/promises'
import type { StoreFiles } from '../../src/compute/result-files.ts'
import { text } from '../support/fake-sandbox.ts'
import { Bench } from './bench.ts'

const [root = '', stage = '0'] = process.argv.slice(2)
const holdAt = Number(stage)
let armed = false
let calls = 0

const forever = (): Promise<never> => {
  process.stdout.write('held\n')
  setInterval(() => undefined, 60_000)
  return new Promise(() => undefined)
}

const storeFiles: StoreFiles = new Proxy(fs, {
  get:
    (target, name: keyof StoreFiles) =>
    async (...args: unknown[]) => {
      if (armed && ++calls === holdAt) {
        if (name === 'writeFile') await fs.writeFile(String(args[0]), '{"half')
        await forever()
      }
      return (target[name] as (...args: unknown[]) => Promise<unknown>)(...args)
    },
})

const bench = await Bench.open(
  root,
  {
    copy: async (run) => {
      await run.inputs.open('a')
      if (armed && holdAt === 0) await forever()
      return [text('result', await fs.readFile(bench.file('a'), 'utf8')), text('other', 'x')]
    },
  },
  { store: { files: storeFiles, spares: 0 } },
)
await bench.write('a', 'one')
await bench.stage('copy')
await bench.look()
await bench.write('a', 'second')
armed = true
await bench.look()
process.stdout.write('done\n')
setInterval(() => undefined, 60_000)
