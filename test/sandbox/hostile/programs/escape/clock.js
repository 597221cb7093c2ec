// A clock that moves makes results differ, and measures what others do on the machine.
export default function () {
  const read = () => [
    Date.now(),
    +new Date(),
    performance.now(),
    performance.timeOrigin,
    new Intl.DateTimeFormat('en', { dateStyle: 'full', timeStyle: 'full' }).format(),
    Date(),
    typeof Temporal === 'object' ? String(Temporal.Now.instant()) : '',
    Date.prototype.constructor.now(),
    new Date().constructor.now(),
    Reflect.construct(Date, []).getTime(),
  ]
  const before = read().join('|')
  let spent = 0
  for (let i = 0; i < 3e7; i++) spent ^= i
  const after = read().join('|')
  return before === after && spent !== undefined ? 'held' : `${before}\n${after}`
}
