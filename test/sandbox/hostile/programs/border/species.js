// Subclass hooks of arrays, promises and buffers run in the middle of built-in methods.
class Spy extends Array {
  static get [Symbol.species]() {
    return function () {
      return new Proxy([], { defineProperty: () => true, set: () => true })
    }
  }
}
Object.defineProperty(Array, Symbol.species, { get: () => Spy })
Object.defineProperty(ArrayBuffer, Symbol.species, {
  get: () =>
    function () {
      return new ArrayBuffer(1)
    },
})
Object.defineProperty(Object.getPrototypeOf(Uint8Array), Symbol.species, {
  get: () =>
    function () {
      return new Uint8Array(1)
    },
})
Array.prototype[Symbol.isConcatSpreadable] = false
RegExp.prototype[Symbol.split] = () => ['TAKEN']
RegExp.prototype[Symbol.replace] = () => 'TAKEN'
String.prototype.split = () => ['TAKEN']
export default function (dir) {
  const file = dir.file('canary.txt')
  const text = file.text()
  const names = []
  for (const one of dir.files('*')) names[names.length] = one.name
  let bytes = 0
  for (const chunk of file.chunks()) bytes += chunk.byteLength
  emit('bytes', file.bytes())
  emit('text', text)
  return bytes === file.size && names.length >= 1 ? 'held' : `${bytes} ${file.size} ${names.length}`
}
