/** Asks a person before something goes that does not come back. */
import { createInterface } from 'node:readline/promises'
import { CliError, EXIT } from './exit.ts'

/** Throws unless the name was typed; without a terminal it is not asked. */
export async function confirm(name: string, what: string): Promise<void> {
  if (!process.stdin.isTTY)
    throw new CliError(EXIT.usage, `removing ${name} is not asked for here: add --yes`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`Remove ${name}, ${what}? Type its name: `)
    if (answer.trim() !== name) throw new CliError(EXIT.interrupted, 'nothing was removed')
  } finally {
    terminal.close()
  }
}
