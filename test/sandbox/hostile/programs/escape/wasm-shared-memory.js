// The global is deleted, and must not come back as the constructor of a shared Wasm memory's buffer: a
// thread or a timer of one's own making is what side channels need. (A module may still have such a
// memory; with nobody to share it with it is memory like any other.)
const found = []
for (const name of ['SharedArrayBuffer', 'Atomics', 'WeakRef', 'FinalizationRegistry'])
  if (typeof globalThis[name] !== 'undefined') found.push(`${name} is a global`)
try {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true })
  const name = memory.buffer.constructor.name
  if (name !== 'ArrayBuffer') found.push(`Memory's buffer is a ${name}`)
} catch {
  // Refused: as it should be.
}
// (module (memory (export "m") 1 1 shared))
const shared = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 5, 4, 1, 3, 1, 1, 7, 5, 1, 1, 109, 2, 0,
])
for (const make of [
  () => new WebAssembly.Instance(new WebAssembly.Module(shared)),
  () => Reflect.construct(WebAssembly.Instance, [Reflect.construct(WebAssembly.Module, [shared])]),
])
  try {
    const name = make().exports.m.buffer.constructor.name
    if (name === 'SharedArrayBuffer') found.push('it came back by way of an exported memory')
  } catch {
    // Refused: as it should be.
  }
found.length === 0 ? 'held' : found.join('\n')
