/** The log: JSON lines on stderr, or short lines for a person at a terminal. */
import { pino, type Logger } from 'pino'

export type { Logger } from 'pino'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface LogOptions {
  readonly level: LogLevel
  /** One short line for each message, for a person who watches. */
  readonly human: boolean
  readonly fd: number
}

export function createLog({ level, human, fd }: LogOptions): Logger {
  // Synchronous: the last lines before a crash are the ones that matter.
  const destination = pino.destination({ fd, sync: true })
  if (!human) {
    return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  }
  return pino(
    { level, base: null, timestamp: false },
    { write: (line: string) => void destination.write(readable(line)) },
  )
}

/** `insitu: warn: message (key=value …)`, on one line whatever the values hold. */
function readable(line: string): string {
  const { level, msg, ...rest } = JSON.parse(line) as Record<string, unknown>
  const label = pino.levels.labels[Number(level)] ?? 'info'
  const details = Object.entries(rest).map(([key, value]) => `${key}=${plain(value)}`)
  const prefix = label === 'info' ? '' : `${label}: `
  const suffix = details.length > 0 ? ` (${details.join(', ')})` : ''
  return `insitu: ${prefix}${plain(msg)}${suffix}\n`
}

function plain(value: unknown): string {
  const text =
    typeof value === 'string'
      ? value
      : value instanceof Object && 'message' in value
        ? String(value.message)
        : (JSON.stringify(value) ?? '')
  // Paths and messages can hold anything: no control character reaches the terminal.
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}
