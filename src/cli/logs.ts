/** `insitu logs`: what a program wrote to its console. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { locateDirectory } from './locate.ts'
import { example } from './options.ts'
import { noProgram, readControl, readStatus } from './program-files.ts'

const REFRESH_MS = 200

export function addLogs(program: Command): void {
  program
    .command('logs')
    .description("print the console output of the directory PATH's last run")
    .argument('<path>', 'a directory with a program')
    .option('-f, --follow', 'go on as more comes, also from later runs, until interrupted')
    .addHelpText('after', example('$ insitu logs -f /mnt/logs'))
    .action(async (place: string, options: { readonly follow?: true }) => {
      const directory = await locateDirectory(place)
      const log = await readControl(directory, '.log')
      if (log === undefined) throw noProgram(directory)
      process.stdout.write(log)
      if (options.follow) await follow(directory, log)
    })
}

async function follow(directory: string, shown: string): Promise<never> {
  let run = (await readStatus(directory))?.startedAt
  for (let last = shown; ;) {
    await sleep(REFRESH_MS)
    const started = (await readStatus(directory))?.startedAt
    const log = (await readControl(directory, '.log')) ?? ''
    // A later run starts a log of its own, which may well begin like the one before.
    const from = started === run && log.startsWith(last) ? last.length : 0
    process.stdout.write(log.slice(from))
    last = log
    run = started
  }
}
