// Call sites give away `this`, functions and files of whoever is on the stack.
export default function (dir) {
  const found = []
  const mine = new Set()
  Error.stackTraceLimit = Infinity
  Error.prepareStackTrace = (_, sites) => {
    for (const site of sites) {
      try {
        const self = site.getThis()
        if (self !== undefined && self !== globalThis && !mine.has(self) && self !== dir)
          if (self.constructor?.constructor !== Function) found.push('this of another realm')
        const callee = site.getFunction()
        if (callee !== undefined && callee.constructor !== Function) found.push('foreign function')
      } catch {
        // Removed: as it should be.
      }
      const file = String(site.getFileName?.() ?? '')
      if (/\/|node:|file:/.test(file)) found.push(`a path: ${file}`)
    }
    return 'mine'
  }
  const look = () => void new Error('look').stack
  look()
  emit('a.json', {
    toJSON() {
      look()
      return 1
    },
  })
  emit(
    'b.txt',
    (function* () {
      look()
      yield 'x'
    })(),
  )
  for (const call of [
    () => dir.file('missing').text(),
    () => emit('../x', ''),
    () => dir.files({ toString: () => (look(), '*') }),
    () => null.x,
  ])
    try {
      call()
    } catch (error) {
      void error.stack
    }
  return found.length === 0 ? 'held' : [...new Set(found)].join('\n')
}
