const kept = []
for (;;) {
  const buffer = new ArrayBuffer(0, { maxByteLength: 64 * 1024 * 1024 })
  buffer.resize(64 * 1024 * 1024)
  new Uint8Array(buffer).fill(1)
  kept.push(buffer)
}
