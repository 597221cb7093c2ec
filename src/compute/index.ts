import { ProgramEngine, type ComputeOptions } from './compute.ts'
import type { Compute } from './types.ts'

export type { ComputeOptions } from './compute.ts'
export type { Log } from './engine.ts'
export { RunError, type RunFailure } from './run-error.ts'

/** Nothing is read or written before `start`. */
export function createCompute(options: ComputeOptions): Compute {
  return new ProgramEngine(options)
}
