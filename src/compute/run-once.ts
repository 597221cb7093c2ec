import { hash } from 'node:crypto'
import type { DirectoryKey, Principal } from '../file-server/types.ts'
import type { RunResult, Usage } from '../sandbox/types.ts'
import type { Engine, OnceRun } from './engine.ts'
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
  engine: Engine,
  once: Once,
  take: (results: readonly RunResult[]) => Promise<T>,
): Promise<{ value: T; usage: Usage }> {
  const left = new AbortController()
  const ended = Promise.withResolvers<void>()
  const run: OnceRun = {
    directory: once.directory,
    leave: (why) => {
      left.abort(why)
      return ended.promise
    },
  }
  engine.once.add(run)
  try {
    return await runWhileThere(engine, once, left.signal, take)
  } finally {
    engine.once.delete(run)
    ended.resolve()
  }
}

/** `left` is aborted with the reason when the tree goes. */
async function runWhileThere<T>(
  { volume, sandbox, scheduler, tenant, limits }: Engine,
  { directory, source, library, principal, signal: asked, onLog }: Once,
  left: AbortSignal,
  take: (results: readonly RunResult[]) => Promise<T>,
): Promise<{ value: T; usage: Usage }> {
  const signal = AbortSignal.any([asked, left])
  const throwIfOver = (): void => {
    left.throwIfAborted()
    if (asked.aborted) throw interrupted()
  }
  throwIfOver()
  const ticket = scheduler.enter(true, principal.uid)
  const leave = (): void => ticket.leave()
  try {
    signal.addEventListener('abort', leave, { once: true })
    await ticket.entered
    // From here on it holds its place until its worker is gone.
    signal.removeEventListener('abort', leave)
    throwIfOver()
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
      throwIfOver()
      const { failure } = run.error
      throw failure.kind === 'compile' ? new RunError('ENOEXEC', failure) : run.error
    }
    try {
      left.throwIfAborted()
      return { value: await take(run.results), usage: run.usage }
    } finally {
      await releaseSpool(run)
    }
  } finally {
    ticket.leave()
  }
}
