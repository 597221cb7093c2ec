/** The log: JSON lines on stderr, or short lines for a person at a terminal. */
import { pino, type LogFn, type Logger } from 'pino'

import { RateLimit } from './rate-limit.ts'

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
  const options = { level, base: null, hooks: { logMethod: limited() } }
  if (!human) {
    return pino({ ...options, timestamp: pino.stdTimeFunctions.isoTime }, destination)
  }
  return pino(
    { ...options, timestamp: false },
    { write: (line: string) => void destination.write(readable(line)) },
  )
}

const { warn: WARN, error: ERROR } = pino.levels.values

/** Users can cause any number of warnings and errors. */
function limited(): (this: Logger, args: Parameters<LogFn>, method: LogFn, level: number) => void {
  const limit = new RateLimit()
  return function (args, method, level) {
    const message = args.find((arg) => typeof arg === 'string') ?? ''
    if (level !== WARN && level !== ERROR) return method.apply(this, args)
    const verdict = limit.judge(message, Date.now())
    if (!verdict.say && !verdict.first) return
    if (!verdict.say)
      return method.apply(this, [{}, `${message} … more of the same are suppressed for a minute`])
    const { suppressedBefore: suppressed } = verdict
    if (suppressed > 0) method.apply(this, [{ suppressed }, `${message} … suppressed`])
    method.apply(this, args)
  }
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
