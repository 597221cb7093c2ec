/** What the control files say. */
import type { InputIdentity } from '../file-server/types.ts'
import type { GuestError } from '../sandbox/types.ts'
import type { AttachedProgram } from './attached-program.ts'
import type { RunRecord } from './database.ts'
import type { RunFailure } from './run-error.ts'
import type { ProgramStatus } from './types.ts'

/** `run`: the last one that ended. */
export function describeStatus(
  program: AttachedProgram,
  run: RunRecord | undefined,
): ProgramStatus {
  const { record, active } = program
  const last = active === undefined ? run : undefined
  const failure = record.broken ?? last?.failure
  return {
    state: program.state,
    program: record.hash,
    version: program.version,
    attachedAt: iso(record.attachedAtMs),
    principal: { uid: record.principal.uid, gid: record.principal.gid },
    startedAt: iso(active?.startedAtMs ?? last?.startedAtMs),
    endedAt: iso(last?.endedAtMs),
    wallMs: last?.usage?.wallMs,
    cpuMs: last?.usage?.cpuMs,
    peakMemoryBytes: last?.usage?.peakMemoryBytes,
    inputs: last?.inputs ?? 0,
    results: last?.results ?? [],
    error: failure && describeFailure(failure),
  }
}

function describeFailure(failure: GuestError | RunFailure): ProgramStatus['error'] {
  const { name, message, line, column } = failure
  const limit = 'limit' in failure ? failure.limit : undefined
  return { name, message, line, column, ...(limit !== undefined && { limit }) }
}

function iso(timeMs: number): string
function iso(timeMs: number | undefined): string | undefined
function iso(timeMs: number | undefined): string | undefined {
  return timeMs === undefined ? undefined : new Date(timeMs).toISOString()
}

/** `.error`: empty when the last run was fine. */
export function describeError(program: AttachedProgram, run: RunRecord | undefined): string {
  const failure = program.record.broken ?? run?.failure
  return failure === undefined ? '' : explain(failure)
}

/** One line that says what and where, then the stack. */
export function explain(failure: GuestError | RunFailure): string {
  const { name, message, stack, line, column } = failure
  const where =
    line === undefined ? '' : ` (line ${line}${column === undefined ? '' : `, column ${column}`})`
  // Engines repeat name and message as the stack's first lines.
  const headline = `${name}: ${message}`
  const trace = stack.startsWith(headline) ? stack.slice(headline.length) : stack
  return `${headline}${where}\n${trace.replace(/^\n+|\s+$/g, '')}`.trimEnd() + '\n'
}

const LOOKED_AT: Record<InputIdentity['kind'], string> = {
  file: 'content',
  attributes: 'attributes',
  directory: 'listing',
  missing: 'absence',
}

/** `.inputs`: path, tab, what was looked at. What would break the line is escaped as in JSON. */
export function describeInputPaths(inputs: readonly InputIdentity[]): string {
  return inputs
    .map(({ path, kind }) => `${escape(path === '' ? '.' : path)}\t${LOOKED_AT[kind]}\n`)
    .join('')
}

function escape(path: string): string {
  // eslint-disable-next-line no-control-regex
  return path.replace(/[\u0000-\u001f\\\u007f]/g, (character) =>
    character === '\\' ? '\\\\' : JSON.stringify(character).slice(1, -1),
  )
}
