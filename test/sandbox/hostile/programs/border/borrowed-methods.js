// Methods of one object called on another, and on things that only look like it.
export default function (dir) {
  const found = []
  const file = dir.file('canary.txt')
  const victims = [
    {},
    [],
    () => {},
    Object.create(file),
    Object.create(dir),
    new Proxy(file, {}),
    new Proxy(dir, {}),
    null,
    7,
    'x',
    globalThis,
    { fd: 0, path: '../secret.txt', name: '../secret.txt', size: 100 },
  ]
  for (const source of [file, dir, console, crypto, performance])
    for (let at = source; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at))
      for (const key of Reflect.ownKeys(at)) {
        const own = Reflect.getOwnPropertyDescriptor(at, key)
        for (const method of [own.value, own.get])
          if (typeof method === 'function' && key !== 'constructor')
            for (const victim of victims)
              for (const argument of [undefined, '../secret.txt'])
                try {
                  const got = Reflect.apply(method, victim, [argument])
                  if (String(got).includes('SECRET')) found.push(String(key))
                } catch (error) {
                  if (error.constructor.constructor !== Function)
                    found.push(`${String(key)}: another realm`)
                }
      }
  for (const kind of [file.constructor, dir.constructor])
    try {
      const made = Reflect.construct(kind, ['../secret.txt', 0, 100])
      if (String(made.text?.()).includes('SECRET')) found.push('constructed')
    } catch {
      // Illegal constructor.
    }
  return found.length === 0 ? 'held' : [...new Set(found)].join('\n')
}
