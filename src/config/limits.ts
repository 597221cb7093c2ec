/** Every bound of insitu, each with its reason. Units stand last in the names. */
import type { RunLimits } from '../sandbox/types.ts'

const MiB = 1024 * 1024

/** What one run may use, unless the configuration says otherwise. */
export const DEFAULT_RUN_LIMITS: RunLimits = {
  wallMs: 60_000, // a reader waits this long at most
  cpuMs: 60_000, // equals wall on one thread: cpu never hides behind a slow disk
  memoryBytes: 256 * MiB, // room for a few million short strings
  outputBytes: 256 * MiB, // results are answers, not copies of the data
  resultFiles: 1_000, // a listing stays quick
  logBytes: 1 * MiB, // kept in memory for each program
  programBytes: 1 * MiB, // bundles fit; compiling stays in milliseconds
  inputs: 100_000, // each costs a stat at every look
}
