// The border is crossed where the stack is nearly used up: trusted code that fails half way must leave
// nothing half done.
export default function (dir) {
  const file = dir.file('canary.txt')
  const calls = [
    () => file.text(),
    () => file.size,
    () => [...file.lines()].length,
    () => console.log('edge'),
    () => emit('edge-' + n++, { deep: [1, 2, 3] }),
    () => dir.files('*').length,
    () => new URL('http://a.b/c?d=e').href,
    () => structuredClone({ a: [1] }),
    () => new TextDecoder().decode(new TextEncoder().encode('text')),
    () => dir.file('missing').text(),
    () => crypto.randomUUID(),
  ]
  let n = 0
  let tries = 0
  let foreign = 0
  const dive = (call) => {
    try {
      dive(call)
    } catch (error) {
      if (error.constructor.constructor !== Function) foreign++
    }
    // On the way back from the edge, where there is a little more room each time.
    if (tries++ > 300) return
    try {
      call()
    } catch (error) {
      if (error.constructor.constructor !== Function) foreign++
    }
  }
  for (const call of calls) {
    tries = 0
    dive(call)
  }
  return foreign === 0 && file.text().length > 0 ? 'held' : `${foreign} errors of another realm`
}
