// Offsets and lengths of every odd kind: bytes outside the file must not come back.
export default function (dir) {
  const found = []
  const file = dir.file('canary.txt')
  const odd = [
    -1,
    -0,
    NaN,
    Infinity,
    -Infinity,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    2 ** 63,
    1e308,
    0.5,
    '3',
    '',
    null,
    undefined,
    1n,
    {},
    [],
    { valueOf: () => 2 ** 40 },
    { [Symbol.toPrimitive]: () => -5 },
    Symbol('n'),
    true,
  ]
  for (const a of odd)
    for (const b of odd) {
      let part
      try {
        part = file.slice(a, b)
        const bytes = part instanceof Uint8Array ? part : part.bytes()
        if (bytes.byteLength > file.size)
          found.push(`slice ${String(a)} ${String(b)}: ${bytes.byteLength}`)
      } catch (error) {
        if (error.constructor.constructor !== Function) found.push('an error of another realm')
      }
    }
  for (const a of odd)
    try {
      let size = 0
      for (const chunk of file.chunks(a)) {
        size += chunk.byteLength
        if (size > file.size) break
      }
      if (size > file.size) found.push(`chunks ${String(a)}: ${size}`)
    } catch (error) {
      if (error.constructor.constructor !== Function) found.push('an error of another realm')
    }
  return found.length === 0 ? 'held' : found.join('\n')
}
