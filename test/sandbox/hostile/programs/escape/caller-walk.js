// Sloppy functions can ask who called them: trusted callers must be strict, so the answer is null.
const found = []
const look = (f, key) => {
  try {
    return f[key]
  } catch {
    // Arrow functions and strict ones refuse.
  }
}
const who = function who() {
  for (let f = look(who, 'caller'), depth = 0; f && depth < 50; f = look(f, 'caller'), depth++) {
    if (f.constructor !== Function) found.push('a function of another realm')
    const text = Function.prototype.toString.call(f)
    if (!text.includes('found') && !text.includes('who')) found.push(text.slice(0, 80))
    for (const value of look(f, 'arguments') ?? [])
      if (typeof value === 'object' && value !== null && !(value instanceof Object))
        found.push('an argument of another realm')
  }
  return 1
}
emit('a', { toJSON: who })
emit('b', new Proxy({}, { ownKeys: () => (who(), []) }))
emit('c', { [Symbol.iterator]: () => ({ next: () => (who(), { done: true }) }) })
console.log({
  toString: who,
  toJSON: who,
  get x() {
    return who()
  },
})
found.length === 0 ? 'held' : found.join('\n')
