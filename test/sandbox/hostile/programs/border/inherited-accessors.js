// Accessors on Object.prototype and Array.prototype see every plain property that trusted code sets
// or reads in the guest's realm without meaning to.
export default function (dir) {
  const caught = []
  const note = (value) =>
    Object.defineProperty(caught, caught.length, { __proto__: null, value, configurable: true })
  const names = [
    'name',
    'size',
    'sizeBytes',
    'fd',
    'path',
    'kind',
    'value',
    'done',
    'get',
    'set',
    'enumerable',
    'writable',
    'configurable',
    'code',
    'errno',
    'message',
    'stack',
    'cause',
    'copy',
    'reference',
    'transferIn',
    'result',
    'arguments',
    'promise',
    'timeout',
    'lastModified',
    'mtimeMs',
    'line',
    'column',
    'then',
    'toJSON',
    'ignoreBOM',
    'fatal',
    'stream',
    'base',
    'dot',
    'nocase',
    'options',
    'default',
    'error',
    'data',
    'offset',
    'type',
    'buffer',
  ]
  for (const name of names)
    Object.defineProperty(Object.prototype, name, {
      __proto__: null,
      configurable: true,
      get() {
        if (name !== 'then' && name !== 'toJSON') note(`read ${name}`)
        return undefined
      },
      set(value) {
        note(`set ${name}`)
        Object.defineProperty(this, name, {
          __proto__: null,
          value,
          configurable: true,
          writable: true,
          enumerable: true,
        })
      },
    })
  for (const index of [0, 1, 2, 3])
    Object.defineProperty(Array.prototype, index, {
      __proto__: null,
      configurable: true,
      get: () => undefined,
      set(value) {
        note(`set [${index}]`)
        Object.defineProperty(this, index, {
          __proto__: null,
          value,
          configurable: true,
          writable: true,
          enumerable: true,
        })
      },
    })
  const names2 = []
  for (const file of dir.files('*.txt')) names2.push(file.name)
  const text = dir.file('canary.txt').text()
  let lines = 0
  for (const line of dir.file('canary.txt').lines()) lines += line.length > 0 ? 1 : 0
  emit('plain', text)
  const result = text.length > 0 && lines > 0 && names2.length > 0
  // Seeing itself is no escape (the realm is the guest's own); another realm's object would be.
  let foreign = ''
  for (const entry of caught)
    if (entry.includes('fd') || entry.includes('reference')) foreign += entry + '\n'
  return result && foreign === ''
    ? 'held'
    : `wrong: ${foreign} ${text.length} ${lines} ${names2.length}`
}
