// Data that is not what it says it is.
export default function () {
  const found = []
  const lying = new Uint8Array(4)
  Object.defineProperties(lying, {
    byteLength: { value: 2 ** 31 },
    length: { value: 2 ** 31 },
    byteOffset: { value: -8 },
    buffer: { value: new ArrayBuffer(2 ** 20) },
    constructor: { value: Float64Array },
  })
  const emitted = (name, data) => {
    try {
      emit(name, data)
    } catch (error) {
      if (error.constructor.constructor !== Function)
        found.push(`${name}: an error of another realm`)
    }
  }
  emitted('lying', lying)
  emitted('proxied-bytes', new Proxy(new Uint8Array(4), {}))
  emitted(
    'proxied-string',
    new Proxy(new String('x'), {
      get: (_, key) => (typeof key === 'symbol' || key === 'then' ? undefined : () => 'TAKEN'),
    }),
  )
  emitted('fake-view', { __proto__: Uint8Array.prototype, length: 2 ** 31, byteLength: 2 ** 31 })
  emitted('fake-tag', { [Symbol.toStringTag]: 'Uint8Array', byteLength: 2 ** 31, buffer: 7 })
  emitted('view', new DataView(new ArrayBuffer(8), 2, 3))
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  emitted('revoked', revoked.proxy)
  const revokedFunction = Proxy.revocable(() => {}, {})
  revokedFunction.revoke()
  emitted('revoked-function', revokedFunction.proxy)
  emitted('symbol', Symbol('x'))
  emitted('function', () => 1)
  emitted('undefined', undefined)
  emitted('nothing')
  const detached = new Uint8Array(8)
  detached.buffer.transfer()
  emitted('detached', detached)
  const shrunk = new ArrayBuffer(8, { maxByteLength: 16 })
  const outside = new Uint8Array(shrunk, 4, 4)
  shrunk.resize(2)
  emitted('out-of-bounds', outside)
  return found.length === 0 ? 'held' : found.join('\n')
}
