/**
 * Random operations: sequences over a mount and a plain directory side by side, which must agree in
 * results, errnos, contents and metadata; one file's bytes against a model of them; and races for a
 * few names, which may give no errors of ours. A short run
 * always takes the same ones; `scripts/test --long random` takes a million, others each time.
 */
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { Compiled } from '../support/compiled.ts'
import { chooseSeed, long } from '../support/long.ts'
import { type ScratchMountOptions, scratchMount, whyNoFuse } from '../support/scratch-mount.ts'

const test = suite('random operations')

const mounts: Record<string, ScratchMountOptions & { readonly share: number }> = {
  'a shared mount': { share: 0.5 },
  'an exclusive mount': { exclusive: true, share: 0.25 },
  'a mount without passthrough': { passthrough: false, share: 0.25 },
}

const reason =
  whyNoFuse() ?? (process.getuid?.() === 0 ? undefined : 'they switch users and so need root')
if (reason !== undefined) {
  console.log(`SKIP random operations: ${reason}`)
  test('is skipped', () => undefined)
} else {
  const compiled = new Compiled()
  const programs = { differential: '', exerciser: '', races: '' }
  test.before(() => {
    for (const name of ['differential', 'exerciser', 'races'] as const)
      programs[name] = compiled.build(fileURLToPath(new URL(name, import.meta.url)))
  })
  test.after(() => compiled.remove())
  const seed = chooseSeed()

  for (const [name, { share, ...options }] of Object.entries(mounts)) {
    const count = (all: number): string => String(Math.ceil(all * share))

    test(`${name} agrees with a plain directory`, async () => {
      await using mount = await scratchMount(options)
      const plain = path.join(mount.scratch, 'plain')
      mkdirSync(plain)
      const several = [
        '--operations',
        count(long ? 800_000 : 8_000),
        '--actors',
        '4',
        '--workers',
        '2',
      ]
      const single = ['--operations', count(long ? 200_000 : 2_000), '--actors', '1']
      // Without passthrough a file that may be mapped has none.
      const holes = options.passthrough === false ? ['--without-holes'] : []
      for (const args of [
        [...several, ...holes],
        [...single, ...holes],
      ])
        await passes(programs.differential, [
          plain,
          mount.mountPoint,
          '--seed',
          String(seed),
          ...args,
        ])
    })

    test(`one file's bytes on ${name}`, async () => {
      await using mount = await scratchMount(options)
      for (const processes of [1, 3])
        await passes(programs.exerciser, [
          path.join(mount.mountPoint, 'file'),
          ...['--below', path.join(mount.backing, 'file')],
          ...['--seed', String(seed), '--processes', String(processes)],
          ...['--operations', count(long ? 200_000 : 2_000)],
        ])
    })

    test(`races on ${name} end as on any filesystem`, async () => {
      await using mount = await scratchMount(options)
      await passes(programs.races, [mount.mountPoint, long ? '60' : '1'])
    })
  }
}

test.run()

/** Runs to the end and must leave with 0; what it wrote is the message if not. */
async function passes(program: string, args: readonly string[]): Promise<void> {
  const failed = await new Promise<string | undefined>((resolve) => {
    execFile(program, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) =>
      resolve(error === null ? undefined : `${stdout}${stderr}`),
    )
  })
  if (failed !== undefined) assert.unreachable(failed)
}
