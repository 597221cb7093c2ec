// memory.atomic.wait32 puts the worker's main thread to sleep without using any cpu:
// (module (memory 1 1 shared)
//   (func (export "run") (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))
const bytes = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 7, 7, 1, 3, 114,
  117, 110, 0, 0, 10, 15, 1, 13, 0, 65, 0, 65, 0, 66, 127, 254, 1, 2, 0, 26, 11,
])
new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.run()
