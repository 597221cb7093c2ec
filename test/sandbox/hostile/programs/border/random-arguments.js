const found = []
for (const argument of [
  undefined,
  null,
  {},
  [],
  'x',
  7,
  new ArrayBuffer(8),
  new Float64Array(4),
  new Proxy(new Uint8Array(4), {}),
  new Uint8Array(65537),
  { __proto__: Uint8Array.prototype },
  new DataView(new ArrayBuffer(4)),
])
  try {
    crypto.getRandomValues(argument)
    found.push(Object.prototype.toString.call(argument))
  } catch (error) {
    if (error.constructor.constructor !== Function) found.push('another realm')
  }
found.length === 0 ? 'held' : found.join('\n')
