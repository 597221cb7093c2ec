/** Option values that several commands share. */
import { InvalidArgumentError, Option } from 'commander'
import { DEFAULT_RUN_LIMITS } from '../config/limits.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../config/units.ts'
import type { RunLimits } from '../sandbox/types.ts'

export interface LimitOptions {
  readonly timeout?: number
  readonly memory?: number
}

/** The isolate and Node beside it need this much to start at all. */
const LEAST_MEMORY_BYTES = 8 * 1024 * 1024

export function timeoutOption(): Option {
  const standard = formatDuration(DEFAULT_RUN_LIMITS.wallMs)
  return new Option(
    '--timeout <duration>',
    `longest run, as 500ms, 30s, 2m (default: ${standard})`,
  ).argParser(duration)
}

export function memoryOption(): Option {
  const standard = formatSize(DEFAULT_RUN_LIMITS.memoryBytes)
  return new Option(
    '--memory <size>',
    `most memory of a run, as 64M (default: ${standard})`,
  ).argParser((text) => {
    const bytes = parseSize(text)
    if (bytes === undefined) throw new InvalidArgumentError('Give a size, as 64M.')
    if (bytes < LEAST_MEMORY_BYTES) throw new InvalidArgumentError('Give at least 8M.')
    return bytes
  })
}

export function unsafeOption(): Option {
  return new Option(
    '--unsafe-no-jail',
    'run programs without bubblewrap: only for programs that you trust',
  )
}

export function duration(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new InvalidArgumentError('Give a duration, as 30s.')
  return ms
}

export function limitsFrom({ timeout, memory }: LimitOptions): RunLimits {
  return {
    ...DEFAULT_RUN_LIMITS,
    ...(timeout === undefined ? {} : { wallMs: timeout, cpuMs: timeout }),
    ...(memory === undefined ? {} : { memoryBytes: memory }),
  }
}

export function example(...lines: string[]): string {
  return `\nExample:\n${lines.map((line) => `  ${line}`).join('\n')}`
}

export function size(text: string): number {
  const bytes = parseSize(text)
  if (bytes === undefined) throw new InvalidArgumentError('Give a size, as 10G.')
  return bytes
}

export function collect(text: string, all: readonly string[] = []): string[] {
  if (!/^[^=]+=/.test(text)) throw new InvalidArgumentError('Give key=value.')
  return [...all, text]
}

export function keyAndValue(text: string): [string, string] {
  const at = text.indexOf('=')
  return [text.slice(0, at), text.slice(at + 1)]
}
