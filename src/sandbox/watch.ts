/** Looks after the workers that run something: whoever goes over a limit is killed. */
import type { RunLimits, Usage } from './types.ts'
import type { Worker } from './worker.ts'

/** How late a limit may be noticed. A look costs 20 µs a worker. */
const INTERVAL_MS = 25

/** Resident memory that is not the program's: garbage of the trusted half, code, thread stacks. The
 * exact bound on memory is RLIMIT_DATA; this one is for where that could not be set. */
const RESIDENT_SLACK_BYTES = 96 * 1024 * 1024

const MiB = 1024 * 1024

interface Watched {
  readonly worker: Worker
  readonly limits: RunLimits
  readonly startedAt: number
  readonly cpuMsBefore: number
}

export class Watch {
  readonly #watched = new Set<Watched>()
  #timer: NodeJS.Timeout | undefined

  /** Wall and cpu time count from now. */
  start(worker: Worker, limits: RunLimits): Watched {
    worker.resetPeak()
    const watched: Watched = {
      worker,
      limits,
      startedAt: performance.now(),
      cpuMsBefore: worker.cpuMs(),
    }
    this.#watched.add(watched)
    this.#timer ??= setInterval(() => this.#look(), INTERVAL_MS)
    return watched
  }

  /** Until now, or until its worker ended. */
  stop(watched: Watched): Usage {
    this.#watched.delete(watched)
    if (this.#watched.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
    return {
      wallMs: performance.now() - watched.startedAt,
      cpuMs: Math.max(0, watched.worker.cpuMs() - watched.cpuMsBefore),
      peakMemoryBytes: watched.worker.memory().peakBytes,
    }
  }

  #look(): void {
    for (const watched of this.#watched) {
      const { worker, limits } = watched
      if (worker.dead) continue
      if (performance.now() - watched.startedAt > limits.wallMs) {
        const message = `the program ran longer than ${limits.wallMs} ms`
        worker.kill({ kind: 'limit', limit: 'wall', message })
        continue
      }
      if (worker.cpuMs() - watched.cpuMsBefore > limits.cpuMs) {
        const message = `the program used more than ${limits.cpuMs} ms of processor time`
        worker.kill({ kind: 'limit', limit: 'cpu', message })
        continue
      }
      const { residentBytes, baselineBytes } = worker.memory()
      if (residentBytes > baselineBytes + limits.memoryBytes + RESIDENT_SLACK_BYTES) {
        const message = `the program used more than ${Math.floor(limits.memoryBytes / MiB)} MiB of memory`
        worker.kill({ kind: 'limit', limit: 'memory', message })
      }
    }
  }
}
