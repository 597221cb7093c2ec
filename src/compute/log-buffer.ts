/** The console of one run, bounded; what does not fit is cut off and said to be. */
export class LogBuffer {
  static readonly #CUT = Buffer.from('\n[the log is full; the rest is left out]\n')
  readonly #boundBytes: number
  #chunks: Buffer[] = []
  #sizeBytes = 0
  #full = false

  constructor(boundBytes: number) {
    this.#boundBytes = boundBytes
  }

  append(text: string): void {
    if (this.#full || text === '') return
    const chunk = Buffer.from(text)
    const roomBytes = this.#boundBytes - this.#sizeBytes
    this.#full = chunk.length > roomBytes
    this.#chunks.push(this.#full ? chunk.subarray(0, roomBytes) : chunk)
    this.#sizeBytes += Math.min(chunk.length, roomBytes)
    if (this.#full) this.#chunks.push(LogBuffer.#CUT)
  }

  bytes(): Buffer {
    const whole = Buffer.concat(this.#chunks)
    this.#chunks = [whole]
    return whole
  }

  clear(): void {
    this.#chunks = []
    this.#sizeBytes = 0
    this.#full = false
  }
}
