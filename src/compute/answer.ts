import type { RunResult } from '../sandbox/types.ts'
import { runError } from './run-error.ts'

/** The file that a return value becomes. */
const RETURN_VALUE = 'result'

/**
 * Which of a query's results is its answer: the return value, else the only result. None: there is
 * nothing to say.
 */
export function chooseAnswer(results: readonly RunResult[]): RunResult | undefined {
  const [only, ...more] = results
  if (more.length === 0) return only
  const returned = results.find(({ name }) => name === RETURN_VALUE)
  if (returned !== undefined) return returned
  const names = results.slice(0, 10).map(({ name }) => name)
  throw runError(
    'program',
    `a query has one answer, but this one emitted ${results.length} results (${names.join(', ')}${results.length > names.length ? ', …' : ''}); return the answer, or emit one`,
  )
}
