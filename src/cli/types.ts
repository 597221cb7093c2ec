/** `insitu types`: the guest API for editors. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { example } from './options.ts'

export function addTypes(program: Command): void {
  program
    .command('types')
    .description('print the TypeScript declarations of what programs can use')
    .addHelpText('after', example('$ insitu types > insitu.d.ts'))
    .action(async () => {
      const file = new URL('../worker/guest/insitu.d.ts', import.meta.url)
      process.stdout.write(await readFile(file))
    })
}
