// No module can be had at run time, whoever asks and whatever it is.
export default async function () {
  const found = []
  const names = [
    'node:fs',
    'fs',
    './x.js',
    '/etc/passwd',
    '.compute',
    'data:text/javascript,1',
    'file:///etc/passwd',
    '',
    'isolated-vm',
  ]
  const ways = [
    (name) => import(name),
    (name) => new Function('name', 'return import(name)')(name),
    (name) => (0, eval)(`import(${JSON.stringify(name)})`),
    (name) =>
      Reflect.construct(Object.getPrototypeOf(async () => {}).constructor, [
        'name',
        'return import(name)',
      ])(name),
    (name) => import({ toString: () => name }),
    (name) => import(name, { with: { type: 'json' } }),
  ]
  for (const name of names)
    for (const [index, way] of ways.entries())
      try {
        const loaded = await way(name)
        found.push(`${name} by way ${index}: ${Object.keys(loaded)}`)
      } catch (error) {
        if (error.constructor.constructor !== Function) found.push('an error of another realm')
      }
  return found.length === 0 ? 'held' : found.join('\n')
}
