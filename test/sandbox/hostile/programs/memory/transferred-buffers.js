// Each transfer to another length is an allocation that replaces the last one.
let buffer = new ArrayBuffer(1)
for (let size = 1; ; size *= 2) {
  buffer = buffer.transfer(size)
  new Uint8Array(buffer).fill(1)
}
