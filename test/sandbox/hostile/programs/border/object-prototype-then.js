// Every object is a thenable now, also those that the runtime resolves promises with.
Object.prototype.then = function (resolve) {
  resolve === undefined ? undefined : resolve('TAKEN')
}
export default async function () {
  emit('kept.txt', 'kept')
  return 'held'
}
