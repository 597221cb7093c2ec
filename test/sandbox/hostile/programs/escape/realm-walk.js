// Walks everything that can be reached from the global object, `dir`, a file, an error of the runtime and
// `emit`, by properties, prototypes and accessors, and looks for a function of another realm, for a
// name of Node's, or for an object of isolated-vm.
export default function (dir) {
  const home = Function
  const found = []
  const seen = new Set()
  const forbidden = /^(process|require|module|Buffer|ivm|Isolate|Reference|ExternalCopy|Callback)$/
  const roots = [
    ['globalThis', globalThis],
    ['dir', dir],
    ['emit', emit],
    ['console', console],
  ]
  const provoke = (name, call) => {
    try {
      roots.push([name, call()])
    } catch (error) {
      roots.push([name, error])
    }
  }
  provoke('file', () => dir.file('canary.txt'))
  provoke('lines', () => dir.file('canary.txt').lines())
  provoke('chunks', () => dir.file('canary.txt').chunks())
  provoke('first chunk', () => dir.file('canary.txt').chunks()[Symbol.iterator]().next().value)
  provoke('bytes', () => dir.file('canary.txt').bytes())
  provoke('files', () => dir.files())
  provoke('missing', () => dir.file('missing').text())
  provoke('bad name', () => emit('../x', ''))
  provoke('bad json', () => emit('x', 1n))
  provoke('bad iterable', () => emit('y', [Symbol('x')].values()))
  provoke('null access', () => null.x)
  provoke('async', () => (async () => {})())
  provoke('generator', () => (function* () {})())
  const queue = roots.map(([path, value]) => ({ path, value }))
  const push = (path, value) => {
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return
    if (seen.has(value) || seen.size > 50_000) return
    seen.add(value)
    queue.push({ path, value })
  }
  for (let next; (next = queue.shift());) {
    const { path, value } = next
    if ((typeof value !== 'object' && typeof value !== 'function') || value === null) continue
    let make
    try {
      make = value.constructor?.constructor
    } catch {
      // A constructor that throws leads nowhere.
    }
    if (typeof make === 'function' && !(make instanceof home)) {
      found.push(`${path}: another realm's Function`)
    }
    push(`${path}.__proto__`, Object.getPrototypeOf(value))
    for (const key of Reflect.ownKeys(value)) {
      const name = `${path}.${String(key)}`
      if (typeof key === 'string' && forbidden.test(key)) {
        if (path !== 'globalThis' || globalThis[key] !== undefined) found.push(name)
      }
      const own = Reflect.getOwnPropertyDescriptor(value, key)
      if (own === undefined) continue
      push(`${name} (get)`, own.get)
      push(`${name} (set)`, own.set)
      try {
        push(name, value[key])
      } catch {
        // An accessor on the wrong receiver.
      }
    }
    if (typeof value === 'function') {
      try {
        push(`${path}.caller`, value.caller)
        push(`${path}.arguments`, value.arguments)
      } catch {
        // Strict functions refuse both.
      }
    }
  }
  if (seen.size < 200) found.push(`walked only ${seen.size} objects`)
  return found.length === 0 ? 'held' : found.slice(0, 20).join('\n')
}
