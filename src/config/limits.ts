/** Every bound of insitu, each with its reason. Units stand last in the names. */
import type { ReservedNames } from '../file-server/types.ts'
import type { RunLimits, SandboxOptions } from '../sandbox/types.ts'

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

/** What all programs of a tenant together may use. */
export interface ComputeLimits {
  readonly programs: number
  readonly concurrentRuns: number
  readonly queuedRuns: number
  readonly storedBytes: number
  readonly sourcesBytes: number
  readonly logsBytes: number
  readonly heldInputBytes: number
}

export const DEFAULT_COMPUTE_LIMITS: ComputeLimits = {
  programs: 100_000, // each holds about a kilobyte in memory
  concurrentRuns: 3, // one fewer than workers: a program compiles at once while others run
  queuedRuns: 10_000, // of each user: a script may attach to every directory of a large tree at once
  storedBytes: 4_096 * MiB, // whoever attaches everywhere cannot fill the disk of all
  sourcesBytes: 256 * MiB, // neither with programs
  logsBytes: 256 * MiB, // nor with what they print
  heldInputBytes: 512 * MiB, // nor the daemon's memory; the inputs of a million results fit
}

/** Seeds the guests' randomness, so that `insitu run` and a mount give the same bytes. */
export const LOCAL_TENANT = 'local'

export const DEFAULT_RESERVED_NAMES: ReservedNames = {
  compute: '.compute',
  results: '.results',
  query: '.query',
}

export const SANDBOX_POOL: Pick<
  SandboxOptions,
  'maxWorkers' | 'idleWorkers' | 'queuedRuns' | 'idleMs'
> = {
  maxWorkers: 4, // each may take a core and its whole memory limit
  idleWorkers: 2, // one to answer now, one for whoever comes meanwhile; some 60 MB each
  queuedRuns: 1_000, // a restart with many stale programs still gets all of its runs
  idleMs: 60_000, // outlives the pause between two saves of an editor
}

/** What the open virtual files of one mount may hold together. */
export interface VirtualFileLimits {
  readonly handles: number
  readonly userHandles: number
  readonly heldBytes: number
  readonly userHeldBytes: number
  readonly renameWaitMs: number
}

export const DEFAULT_VIRTUAL_FILE_LIMITS: VirtualFileLimits = {
  handles: 4_096, // many shells at once; a descriptor leak stops before the daemon suffers
  userHandles: 1_024, // who holds on to all that he can get leaves the rest for others
  heldBytes: 512 * MiB, // unread answers and unfinished programs of all
  userHeldBytes: 256 * MiB, // one run's whole output fits
  renameWaitMs: 500, // the kernel holds the directory's lock in rename(2): others wait with it
}

/** Below, `mkfs` makes none; `mkfs.xfs` has wanted 300 MiB since 5.19. */
export const LEAST_IMAGE_BYTES = { ext4: 16 * 1024 * 1024, xfs: 300 * 1024 * 1024 } as const
/** Filesystems are made of such blocks. */
export const IMAGE_BLOCK_BYTES = 4_096
