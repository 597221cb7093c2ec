import { hash } from 'node:crypto'
import type { DirectoryKey, Principal } from '../file-server/types.ts'
import type { RunResult, Usage } from '../sandbox/types.ts'
import type { Engine } from './engine.ts'
import { runFresh } from './fresh-run.ts'
import { releaseSpool } from './result-files.ts'
import { RunError } from './run-error.ts'
import { interrupted } from './wait.ts'

/** A program that is attached nowhere. */
export interface Once {
  readonly directory: DirectoryKey
  readonly source: Uint8Array
  /** What `import program from '.compute'` gives. */
  readonly library: Uint8Array | undefined
  readonly principal: Principal
  readonly signal: AbortSignal
  readonly onLog: (text: string) => void
}

/** Runs it, fresh, and hands its results to `take`, whose end releases them. Rejects with RunError
 * (ENOEXEC: it does not compile), EAGAIN (too many runs wait), EINTR. */
export async function runOnce<T>(
  { volume, sandbox, scheduler, tenant, limits }: Engine,
  { directory, source, library, principal, signal, onLog }: Once,
  take: (results: readonly RunResult[]) => Promise<T>,
): Promise<{ value: T; usage: Usage }> {
  if (signal.aborted) throw interrupted()
  const ticket = scheduler.enter(true, principal.uid)
  const leave = (): void => ticket.leave()
  try {
    signal.addEventListener('abort', leave, { once: true })
    await ticket.entered
    // From here on it holds its place until its worker is gone.
    signal.removeEventListener('abort', leave)
    if (signal.aborted) throw interrupted()
    const run = await runFresh({
      volume,
      sandbox,
      tenant,
      directory,
      principal,
      source,
      library,
      program: hash('sha256', source, 'hex'),
      nowMs: Date.now(),
      limits,
      signal,
      onLog,
    })
    run.inputs?.close()
    if (!run.ok) {
      if (signal.aborted) throw interrupted()
      const { failure } = run.error
      throw failure.kind === 'compile' ? new RunError('ENOEXEC', failure) : run.error
    }
    try {
      return { value: await take(run.results), usage: run.usage }
    } finally {
      await releaseSpool(run)
    }
  } finally {
    ticket.leave()
  }
}
