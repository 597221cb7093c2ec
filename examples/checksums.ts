/** SHA-256 of every file, in the format of sha256sum: `sha256sum -c .results/SHA256SUMS`. */
export default function (dir: Directory) {
  emit(
    'SHA256SUMS',
    dir
      .files('**')
      .values()
      .map((file) => `${sha256(file)}  ${file.path}\n`),
  )
}

// The fractional parts of the square and cube roots of the first primes.
const primes = Array.from({ length: 312 }, (_, i) => i).filter(
  (n) => n > 1 && !Array.from({ length: n }, (_, i) => i).some((d) => d > 1 && n % d === 0),
)
const fraction = (x: number) => ((x - Math.floor(x)) * 2 ** 32) | 0
const START = primes.slice(0, 8).map((p) => fraction(p ** (1 / 2)))
const K = Int32Array.from(primes.slice(0, 64), (p) => fraction(p ** (1 / 3)))

function sha256(file: InputFile): string {
  const state = Int32Array.from(START)
  let rest = new Uint8Array(0)
  let length = 0
  // The size is a multiple of a block's 64 bytes: only the last chunk leaves a rest.
  for (const chunk of file.chunks(1 << 20)) {
    length += chunk.length
    rest = digest(state, chunk)
  }
  // A one, zeros, and the length in bits, to a whole block.
  const end = new Uint8Array((((rest.length + 8) >> 6) + 1) * 64)
  end.set(rest)
  end[rest.length] = 0x80
  new DataView(end.buffer).setBigUint64(end.length - 8, BigInt(length) * 8n)
  digest(state, end)
  return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
}

const w = new Int32Array(64)
const turn = (x: number, n: number) => (x >>> n) | (x << (32 - n))

/** Takes in whole blocks, and gives back what is left over. */
function digest(state: Int32Array, bytes: Uint8Array<ArrayBuffer>) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  for (; at + 64 <= bytes.length; at += 64) {
    let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state
    for (let i = 0; i < 64; i++) {
      const [x, y] = [w[i - 15], w[i - 2]]
      const s0 = turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)
      const s1 = turn(y, 17) ^ turn(y, 19) ^ (y >>> 10)
      w[i] = i < 16 ? view.getInt32(at + i * 4) : w[i - 16] + s0 + w[i - 7] + s1
      const t1 = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + w[i]
      const t2 = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))
      ;[h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0]
    }
    ;[a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word))
  }
  return bytes.subarray(at)
}
