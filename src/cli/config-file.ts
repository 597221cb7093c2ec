/** The configuration file as commands read it: each mistake is a line on stderr. */
import { loadConfiguration } from '../config/file.ts'
import type { Mistake, ServeConfiguration } from '../config/served.ts'
import { CliError, EXIT, oneLine } from './exit.ts'

export const DEFAULT_FILE = '/etc/insitu/insitu.yaml'

export async function readConfiguration(file: string): Promise<ServeConfiguration> {
  const { configuration, mistakes } = await loadConfiguration(file).catch(
    (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'ENOENT'
          ? 'is not there: begin with a copy of examples/insitu.yaml, or name another file'
          : `cannot be read (${error.code ?? error.message})`
      throw new CliError(EXIT.failed, `${file} ${why}`)
    },
  )
  if (configuration !== undefined) return configuration
  for (const mistake of mistakes) process.stderr.write(`${describe(file, mistake)}\n`)
  const count = mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`
  throw new CliError(EXIT.failed, `${file} has ${count}`)
}

/** As compilers say it, so that editors find the place. */
export function describe(file: string, { line, column, key, message }: Mistake): string {
  const where = key === '' ? '' : `${key}: `
  return oneLine(`${file}:${line}:${column}: ${where}${message}`)
}
