// What waits for a promise must not ask the program how.
Object.defineProperty(Promise, Symbol.species, {
  get: () =>
    function (executor) {
      executor(
        () => {},
        () => {},
      )
    },
})
Promise.prototype.then = function (resolve) {
  resolve('TAKEN')
}
export default async function () {
  return 'held'
}
