// The same through the asynchronous doors, which are compiled by other code of the engine.
export default async function () {
  const found = []
  const shared = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 5, 4, 1, 3, 1, 1, 7, 5, 1, 1, 109, 2, 0,
  ])
  const doors = {
    instantiate: async () => (await WebAssembly.instantiate(shared)).instance,
    compile: async () => new WebAssembly.Instance(await WebAssembly.compile(shared)),
    both: async () => WebAssembly.instantiate(await WebAssembly.compile(shared)),
  }
  // Compiling goes on in another thread and may never come back to a run without an event loop, so
  // nobody waits for it here: what did not come in time cannot be used either.
  for (const [name, door] of Object.entries(doors))
    try {
      door().then(
        (instance) => {
          const kind = instance.exports.m.buffer.constructor.name
          if (kind === 'SharedArrayBuffer') found.push(`${name}: ${kind}`)
        },
        () => {},
      )
    } catch {
      // Refused at once.
    }
  for (let i = 0; i < 1000; i++) await null
  return found.length === 0 ? 'held' : found.join('\n')
}
