// Arrays that iterate as something else, strings that iterate at all.
Array.prototype[Symbol.iterator] = function* () {
  yield '../../taken'
}
String.prototype[Symbol.iterator] = function* () {
  yield 'TAKEN'
}
Object.prototype[Symbol.iterator] = function* () {
  yield 'TAKEN'
}
Object.getPrototypeOf([].values()).next = () => ({ done: true })
export default function (dir) {
  emit('text', 'text')
  emit('bytes', new Uint8Array(3).fill(65))
  return dir.file('canary.txt').text().length > 0 ? 'held' : 'no text'
}
