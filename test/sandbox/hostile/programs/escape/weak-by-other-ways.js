// What tells of garbage collection makes results differ from run to run.
const found = []
const walk = (value, path, depth) => {
  if (depth === 0 || value === null || (typeof value !== 'object' && typeof value !== 'function'))
    return
  for (const key of Reflect.ownKeys(value)) {
    const own = Reflect.getOwnPropertyDescriptor(value, key)
    for (const part of [own.value, own.get, own.set]) {
      if (typeof part !== 'function' && typeof part !== 'object') continue
      if (/^(WeakRef|FinalizationRegistry|SharedArrayBuffer)$/.test(part?.name))
        found.push(`${path}.${String(key)}`)
      if (part !== globalThis) walk(part, `${path}.${String(key)}`, depth - 1)
    }
  }
}
walk(globalThis, 'globalThis', 4)
found.length === 0 ? 'held' : found.join('\n')
