// Formatting meets every trap that an argument can set.
const throwing = new Proxy(
  {},
  {
    get() {
      throw new Error('get')
    },
    ownKeys() {
      throw new Error('ownKeys')
    },
    getPrototypeOf() {
      throw new Error('getPrototypeOf')
    },
  },
)
const { proxy, revoke } = Proxy.revocable({}, {})
revoke()
const cyclic = { name: 'cyclic' }
cyclic.self = cyclic
const values = [
  throwing,
  proxy,
  cyclic,
  Symbol('s'),
  1n,
  -0,
  NaN,
  null,
  undefined,
  () => {},
  class A {},
  new Map([[cyclic, cyclic]]),
  new Set([cyclic]),
  new Error('e'),
  new Date(NaN),
  /x/g,
  new Uint8Array(1e6),
  [, , 1],
  Object.create(null),
  { toString: 7, toJSON: 7, [Symbol.toStringTag]: throwing, [Symbol.toPrimitive]: 7 },
  '%s%d%i%f%j%o%O%c%%',
  '\u0000\u001b[31m\r\u2028',
]
for (const method of [
  'log',
  'info',
  'warn',
  'error',
  'debug',
  'table',
  'trace',
  'dir',
  'group',
  'count',
  'assert',
])
  for (const value of values) {
    try {
      console[method]?.(value)
    } catch (error) {
      if (error.constructor.constructor !== Function) throw new Error('another realm')
    }
    try {
      console[method]?.(
        '%s %d %o %O %j %c %i %f',
        value,
        value,
        value,
        value,
        value,
        value,
        value,
        value,
      )
    } catch (error) {
      if (error.constructor.constructor !== Function) throw new Error('another realm')
    }
  }
;('held')
