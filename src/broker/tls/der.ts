/** The few DER values that a certificate is made of (ITU-T X.690). Only written here, never read. */

export function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([tag]), lengthOf(body.length), body])
}

function lengthOf(bytes: number): Buffer {
  if (bytes < 0x80) return Buffer.from([bytes])
  const hex = bytes.toString(16)
  const digits = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  return Buffer.concat([Buffer.from([0x80 | digits.length]), digits])
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => tagged(0x30, ...parts)
export const set = (...parts: readonly Uint8Array[]): Buffer => tagged(0x31, ...parts)
export const octets = (...parts: readonly Uint8Array[]): Buffer => tagged(0x04, ...parts)
export const text = (value: string): Buffer => tagged(0x0c, Buffer.from(value, 'utf8'))
export const truth = (): Buffer => tagged(0x01, Buffer.from([0xff]))

/** `[number]` around whole values. */
export const explicit = (number: number, ...parts: readonly Uint8Array[]): Buffer =>
  tagged(0xa0 | number, ...parts)

/** `[number]` in place of a plain value's own tag. */
export const implicit = (number: number, content: Uint8Array): Buffer =>
  tagged(0x80 | number, content)

/** Not negative: a leading one bit gets a byte before it. */
export function integer(value: Uint8Array): Buffer {
  const bytes = Buffer.from(value)
  let from = 0
  while (from < bytes.length - 1 && bytes[from] === 0) from += 1
  const least = bytes.subarray(from)
  return (least[0] ?? 0) & 0x80 ? tagged(0x02, Buffer.from([0]), least) : tagged(0x02, least)
}

/** `unused`: bits at the end that do not count. */
export const bits = (value: Uint8Array, unused = 0): Buffer =>
  tagged(0x03, Buffer.from([unused]), value)

/** As `1.2.840.10045.4.3.2`. */
export function identifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

function base128(value: number): number[] {
  const digits = [value & 0x7f]
  for (let left = value >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80)
  return digits
}

/** Two digits of the year up to 2049, four from then on (RFC 5280, 4.1.2.5); no fractions. */
export function time(ms: number): Buffer {
  const digits = new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '')
  const late = Number(digits.slice(0, 4)) >= 2050
  return tagged(late ? 0x18 : 0x17, Buffer.from(late ? digits : digits.slice(2), 'ascii'))
}
