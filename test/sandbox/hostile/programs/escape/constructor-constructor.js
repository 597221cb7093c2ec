// The classic way out of Node's own vm module.
export default function (dir) {
  const found = []
  const values = [dir, emit, console, console.log, [], {}, dir.files(), /x/, Promise.resolve(), 1n]
  try {
    dir.file('missing').text()
  } catch (error) {
    values.push(error)
  }
  for (const value of values)
    for (const source of [
      'return process',
      'return require',
      'return globalThis.process.mainModule',
      'return this.constructor.constructor("return process")()',
      'return import("node:fs")',
    ])
      try {
        const got = value.constructor.constructor(source)()
        if (typeof got?.then === 'function')
          got.then(
            () => found.push(source),
            () => {},
          )
        else if (got !== undefined) found.push(source)
      } catch {
        // Not defined: as it should be.
      }
  return Promise.resolve().then(() => (found.length === 0 ? 'held' : found.join('\n')))
}
