// Compiled code lives outside the heap as well.
const header = [0, 97, 115, 109, 1, 0, 0, 0]
const u32 = (n) => [(n & 127) | 128, ((n >> 7) & 127) | 128, (n >> 14) & 127]
const section = (id, body) => [id, ...u32(body.length), ...body]
const count = 20_000
const types = section(1, [...u32(1), 0x60, 0, 0])
const functions = section(3, [...u32(count), ...new Array(count).fill(0)])
const bodies = [...u32(count)]
for (let i = 0; i < count; i++) bodies.push(2, 0, 0x0b)
const bytes = new Uint8Array([...header, ...types, ...functions, ...section(10, bodies)])
const kept = []
for (;;) kept.push(new WebAssembly.Instance(new WebAssembly.Module(bytes)))
