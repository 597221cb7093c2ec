/** The file that `insitu program export` writes: JSON, readable, and the same for the same programs. */
import { isPrincipal } from '../daemon/control-types.ts'
import type { ProgramImport } from '../daemon/control-types.ts'
import { CliError, EXIT } from './exit.ts'

const FORMAT = 'insitu-programs/1'

/** Sources that are text stand as text, so that an archive can be read and kept under version control. */
export function toArchive(programs: readonly ProgramImport[]): string {
  const entries = programs
    .toSorted((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ path, source, principal }) => {
      const bytes = Buffer.from(source, 'base64')
      const text = bytes.toString('utf8')
      return Buffer.from(text, 'utf8').equals(bytes)
        ? { path, principal, source: text }
        : { path, principal, base64: source }
    })
  return `${JSON.stringify({ format: FORMAT, programs: entries }, undefined, 2)}\n`
}

export function parseArchive(text: string, name: string): ProgramImport[] {
  const { format, programs } = parse(text, name)
  if (format !== FORMAT || !Array.isArray(programs)) throw notAnArchive(name)
  return programs.map((entry: unknown, index) => {
    const { path, principal, source, base64 } = (entry ?? {}) as Record<string, unknown>
    const encoded = typeof source === 'string' ? Buffer.from(source).toString('base64') : base64
    if (typeof path !== 'string' || typeof encoded !== 'string' || !isPrincipal(principal))
      throw new CliError(
        EXIT.failed,
        `program ${index + 1} of ${name} lacks path, principal or source`,
      )
    return { path, source: encoded, principal }
  })
}

function parse(text: string, name: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Said below, in our words.
  }
  throw notAnArchive(name)
}

function notAnArchive(name: string): CliError {
  return new CliError(EXIT.failed, `${name} is not an archive of "insitu program export"`)
}
