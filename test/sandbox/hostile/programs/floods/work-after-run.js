// Everything that could still run once the run is over: unresolved promises with their reactions, Wasm
// compilation in another thread, iterators left open, finalizers.
export default function (dir) {
  globalThis.kept = dir.file('canary.txt').lines()[Symbol.iterator]()
  globalThis.kept.next()
  new Promise(() => {}).then(() => emit('never.txt', 'x'))
  // (module)
  WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])).then(
    () => emit('compiled.txt', 'x'),
    () => {},
  )
  return 'held'
}
