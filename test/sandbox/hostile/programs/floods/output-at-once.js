emit('large.bin', new Uint8Array(20 * 1024 * 1024))
