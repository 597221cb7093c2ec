// Outside the heap: isolated-vm's memory limit sees none of it in time.
const kept = []
for (;;) kept.push(new Uint8Array(16 * 1024 * 1024).fill(1))
