// Every method of every built-in prototype is replaced before the border is crossed. Whatever the
// runtime still looks up is then ours: it must look up nothing.
export default function (dir) {
  const tampered = []
  const spy = (name) =>
    function () {
      tampered[tampered.length] = name
      throw new Error(`${name} was called by the runtime`)
    }
  const { ownKeys, getOwnPropertyDescriptor, defineProperty, getPrototypeOf } = Reflect
  const kinds = [
    Object,
    Function,
    Array,
    String,
    Number,
    Boolean,
    BigInt,
    Symbol,
    Date,
    RegExp,
    Error,
    TypeError,
    RangeError,
    Promise,
    Map,
    Set,
    WeakMap,
    WeakSet,
    ArrayBuffer,
    DataView,
    Uint8Array,
    getPrototypeOf(Uint8Array),
    getPrototypeOf([].values()),
    getPrototypeOf(getPrototypeOf([].values())),
    getPrototypeOf(new Map().values()),
    getPrototypeOf(''[Symbol.iterator]()),
    getPrototypeOf(function* () {}).prototype,
    getPrototypeOf(async function* () {}).prototype,
    TextEncoder,
    TextDecoder,
    URL,
  ]
  const statics = [
    Object,
    Array,
    Number,
    String,
    Promise,
    Reflect,
    JSON,
    Math,
    Symbol,
    ArrayBuffer,
    Uint8Array,
  ]
  const targets = []
  for (const kind of kinds) targets.push([kind.prototype ?? kind, kind.name ?? 'iterator'])
  for (const kind of statics) targets.push([kind, `${kind.name ?? 'namespace'} itself`])
  const work = []
  for (const [target, label] of targets)
    for (const key of ownKeys(target)) {
      if (key === 'constructor' || key === 'prototype' || key === 'length' || key === 'name')
        continue
      const own = getOwnPropertyDescriptor(target, key)
      if (!own.configurable) continue
      work.push([
        target,
        key,
        own,
        spy(`${label}.${typeof key === 'symbol' ? key.description : key}`),
      ])
    }
  const count = work.length
  const file = dir.file('canary.txt')
  for (let i = 0; i < count; i++) {
    const target = work[i][0]
    const own = work[i][2]
    const fake = work[i][3]
    if ('value' in own && typeof own.value === 'function')
      defineProperty(target, work[i][1], {
        __proto__: null,
        value: fake,
        configurable: true,
        writable: true,
      })
    else if (own.get !== undefined)
      defineProperty(target, work[i][1], {
        __proto__: null,
        get: fake,
        set: fake,
        configurable: true,
      })
  }
  // What the program itself calls from here on is only the border.
  const text = file.text()
  const again = dir.file('canary.txt')
  const size = again.size
  const bytes = again.bytes()
  const part = again.slice(0, 3)
  emit('text', text)
  emit('bytes', bytes)
  emit('json', { a: 1, b: 'two', c: null, d: { e: true } })
  emit('size', size)
  console.log('logged', 1, true, null)
  let missed = 'no error'
  try {
    dir.file('missing').text()
  } catch (error) {
    missed = 'refused'
  }
  emit('missing', missed)
  let kept = ''
  for (let i = 0; i < tampered.length && i < 20; i++) kept += tampered[i] + '\n'
  return kept === '' ? 'held' : kept
}
