/** `insitu config`: looks at `insitu.yaml`, and has the daemon read it again. */
import type { Command } from 'commander'
import { DEFAULT_FILE, readConfiguration } from './config-file.ts'
import { example } from './options.ts'

export function addConfig(program: Command): void {
  const config = program.command('config').description('the configuration file of "insitu serve"')
  config
    .command('check')
    .description('say what is wrong with FILE, with line and column, or that nothing is')
    .argument('[file]', 'the configuration', DEFAULT_FILE)
    .addHelpText('after', example('$ insitu config check insitu.yaml'))
    .action(async (file: string) => {
      const { tenants, volumes, policies } = await readConfiguration(file)
      process.stdout.write(
        `${file}: ${tenants.length} tenants, ${volumes.length} volumes, ${policies.length} policies\n`,
      )
    })
  config
    .command('schema')
    .description('print the JSON Schema of the file, for editors')
    .addHelpText('after', example('$ insitu config schema > insitu.schema.json'))
    .action(async () => {
      const { FileSchema } = await import('../config/schema.ts')
      process.stdout.write(`${JSON.stringify(FileSchema, undefined, 2)}\n`)
    })
}
