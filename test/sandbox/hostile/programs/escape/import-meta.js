// Nothing of the machine stands in here: no URL, no folder, no resolver.
export default () => {
  const meta = import.meta
  const keys = Reflect.ownKeys(meta)
  return keys.length === 0 && Object.getPrototypeOf(meta) === null ? 'held' : keys.join(' ')
}
