/** Runs one program in a slot of its own over a directory: no jail, no daemon. */
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DEFAULT_RUN_LIMITS } from '../../src/config/limits.ts'
import type { GuestError, RunLimits } from '../../src/sandbox/types.ts'
import { createGuestSlot } from '../../src/worker/guest/index.ts'
import { directoryHost } from './directory-host.ts'

const MiB = 1024 * 1024

/** Less memory than by default, so that a test which fills it is quick. */
export const TEST_LIMITS: RunLimits = {
  ...DEFAULT_RUN_LIMITS,
  wallMs: 60_000,
  memoryBytes: 128 * MiB,
}

export interface GuestOutcome {
  readonly error: GuestError | undefined
  /** Results as text, in the order in which they were begun. */
  readonly results: Readonly<Record<string, string>>
  readonly bytes: ReadonlyMap<string, Uint8Array>
  readonly log: string
  readonly poisoned: boolean
}

export interface GuestOptions {
  readonly directory?: string
  readonly library?: string
  readonly seed?: Uint8Array
  readonly nowMs?: number
  readonly limits?: Partial<RunLimits>
  readonly host?: { outputBytes?: number; resultFiles?: number }
}

export async function runGuest(
  source: string | Uint8Array,
  options: GuestOptions = {},
): Promise<GuestOutcome> {
  const limits = { ...TEST_LIMITS, ...options.limits }
  const { outputBytes = limits.outputBytes, resultFiles = limits.resultFiles } = options.host ?? {}
  const host = directoryHost(options.directory ?? tmpdir(), { outputBytes, resultFiles })
  const slot = createGuestSlot(limits)
  try {
    const library = options.library === undefined ? undefined : Buffer.from(options.library)
    const error =
      slot.compile(Buffer.from(source), library) ??
      (await slot.run(host, {
        seed: options.seed ?? new Uint8Array(32),
        nowMs: options.nowMs ?? Date.UTC(2026, 0, 2, 3, 4, 5),
      }))
    const bytes = host.results
    const results = Object.fromEntries(
      [...bytes].map(([name, data]) => [name, Buffer.from(data).toString()]),
    )
    return { error, results, bytes, log: host.logged, poisoned: slot.poisoned() }
  } finally {
    slot.dispose()
  }
}

/** The result `result` of a program that must succeed, parsed. */
export async function evaluateGuest(source: string, options: GuestOptions = {}): Promise<unknown> {
  const { error, results } = await runGuest(source, options)
  if (error !== undefined) throw new Error(`the program failed: ${error.stack}`)
  const text = results['result']
  return text === undefined ? undefined : (JSON.parse(text) as unknown)
}

/** A fresh directory with these files; `remove` takes it away. */
export function makeFiles(files: Readonly<Record<string, string | Uint8Array>>): {
  readonly directory: string
  remove(): void
} {
  const directory = mkdtempSync(path.join(tmpdir(), 'insitu-guest-'))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(directory, name)), { recursive: true })
    writeFileSync(path.join(directory, name), content)
  }
  const remove = (): void => rmSync(directory, { recursive: true, force: true })
  // Also where a test fails before it gets to it.
  process.once('exit', remove)
  return {
    directory,
    remove() {
      process.off('exit', remove)
      remove()
    },
  }
}
