import { VfsError } from '../errors.ts'

/**
 * What `promise` brings, unless the waiter is interrupted (EINTR) or its time is over (EAGAIN) first.
 * `promise` goes on for others, and holds nothing of a waiter who left.
 */
export function waitFor<T>(
  waiters: Waiters<T>,
  signal: AbortSignal,
  bound: { endsAtMs: number; message: string },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', interrupt)
      waiters.delete(arrive)
    }
    const arrive = (value: T): void => {
      leave()
      resolve(value)
    }
    const interrupt = (): void => {
      leave()
      reject(interrupted())
    }
    const timer = setTimeout(
      () => {
        leave()
        reject(new VfsError('EAGAIN', bound.message))
      },
      Math.max(0, bound.endsAtMs - performance.now()),
    )
    waiters.add(arrive)
    signal.addEventListener('abort', interrupt, { once: true })
    if (signal.aborted) interrupt()
  })
}

export type Waiters<T> = Set<(value: T) => void>

export function interrupted(): VfsError {
  return new VfsError('EINTR', 'the wait for a result was interrupted')
}
