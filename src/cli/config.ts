/** `insitu config`: looks at `insitu.yaml`, and has the daemon read it again. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { readServeRecord, type ServeRecord } from '../daemon/serve-record.ts'
import { currentEnvironment, runtimeDirectory } from '../config/paths.ts'
import { DEFAULT_FILE, readConfiguration } from './config-file.ts'
import { CliError, EXIT } from './exit.ts'
import { example } from './options.ts'

/** Many tenants may have to be mounted. */
const RELOAD_PATIENCE_MS = 120_000

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
    .command('reload')
    .description('have the running daemon read its file again; mistakes change nothing')
    .addHelpText('after', example('$ insitu config reload'))
    .action(() => reload(runtimeDirectory(currentEnvironment())))
  config
    .command('schema')
    .description('print the JSON Schema of the file, for editors')
    .addHelpText('after', example('$ insitu config schema > insitu.schema.json'))
    .action(async () => {
      const { FileSchema } = await import('../config/schema.ts')
      process.stdout.write(`${JSON.stringify(FileSchema, undefined, 2)}\n`)
    })
  config
    .command('reference')
    .description('print what every key of the file means, as a Markdown table')
    .addHelpText('after', example('$ insitu config reference'))
    .action(async () => {
      const { configurationReference } = await import('../config/reference.ts')
      process.stdout.write(configurationReference())
    })
}

async function reload(runtime: string): Promise<void> {
  const before = await readServeRecord(runtime)
  if (before === undefined)
    throw new CliError(
      EXIT.unavailable,
      `no "insitu serve" runs with ${runtime}: start it, or name its directory in INSITU_RUNTIME_DIR`,
    )
  await readConfiguration(before.file)
  process.kill(before.pid, 'SIGHUP')
  const after = await nextRead(runtime, before)
  if (after.error !== undefined) throw new CliError(EXIT.failed, after.error)
  process.stdout.write(`${after.file} is in force\n`)
}

async function nextRead(runtime: string, { reads }: ServeRecord): Promise<ServeRecord> {
  const deadline = Date.now() + RELOAD_PATIENCE_MS
  while (Date.now() < deadline) {
    const record = await readServeRecord(runtime)
    if (record === undefined) throw new CliError(EXIT.failed, 'the daemon ended meanwhile')
    if (record.reads > reads) return record
    await sleep(50)
  }
  throw new CliError(EXIT.timedOut, 'the daemon is still at it: see its log')
}
