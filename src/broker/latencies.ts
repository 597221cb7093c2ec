/**
 * How long operations took, in buckets as the file server counts them: below 4 µs one for each, then four
 * to an octave, so that a bound is at most a quarter too high. Pure.
 */
export const LATENCY_BUCKETS = 104

/** Operations of that bucket took less than so many microseconds. */
export function boundOfUs(bucket: number): number {
  if (bucket < 4) return bucket + 1
  const octave = Math.floor(bucket / 4) - 1
  return (5 + (bucket % 4)) * 2 ** octave
}

/** The bound below which 99 of 100 lie; undefined without any. */
export function p99Us(counts: ArrayLike<number>): number | undefined {
  let total = 0
  for (let i = 0; i < counts.length; i += 1) total += counts[i] ?? 0
  if (total <= 0) return undefined
  let left = Math.ceil(total * 0.99)
  for (let i = 0; i < counts.length; i += 1) {
    left -= counts[i] ?? 0
    if (left <= 0) return boundOfUs(i)
  }
  return undefined
}

/** What a choice looks back on. */
const WINDOW_MS = 60_000

interface Step {
  readonly counts: Float64Array
  readonly fromMs: number
  readonly toMs: number
}

/** Of one volume: the last minute of what its grants did. */
export class RecentLatencies {
  #steps: Step[] = []

  /** What was done since `fromMs`. */
  add(counts: Float64Array, fromMs: number, toMs: number): void {
    this.#steps.push({ counts, fromMs, toMs })
    this.#steps = this.#steps.filter((step) => step.toMs > toMs - WINDOW_MS)
  }

  measure(): { readonly p99Us: number | undefined; readonly load: number } {
    const sum = new Float64Array(LATENCY_BUCKETS)
    for (const { counts } of this.#steps)
      for (let i = 0; i < LATENCY_BUCKETS; i += 1) sum[i] = (sum[i] ?? 0) + (counts[i] ?? 0)
    const total = sum.reduce((one, other) => one + other, 0)
    const ms = (this.#steps.at(-1)?.toMs ?? 0) - (this.#steps[0]?.fromMs ?? 0)
    return { p99Us: p99Us(sum), load: ms > 0 ? (total * 1_000) / ms : 0 }
  }
}
