// Buffers that are moved twice, moved meanwhile, resized meanwhile, or are none.
export default function () {
  const attempts = [
    () => {
      const buffer = new ArrayBuffer(8)
      structuredClone(buffer, { transfer: [buffer, buffer] })
    },
    () => {
      const buffer = new ArrayBuffer(8)
      const value = {
        get first() {
          buffer.transfer()
          return 1
        },
        buffer,
      }
      structuredClone(value, { transfer: [buffer] })
    },
    () => {
      const buffer = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 21 })
      const view = new Uint8Array(buffer, 1 << 19)
      const value = {
        view,
        get second() {
          buffer.resize(0)
          return view
        },
        third: view,
      }
      structuredClone(value)
    },
    () => structuredClone({}, { transfer: [new Proxy(new ArrayBuffer(8), {})] }),
    () => structuredClone({}, { transfer: [new Uint8Array(8)] }),
    () => structuredClone(() => {}),
    () => structuredClone(new Proxy({}, { ownKeys: () => ['x', 'x'] })),
    () => structuredClone(dir),
    () => structuredClone(dir.file('canary.txt')),
    () => structuredClone(Symbol('x')),
    () =>
      structuredClone(new WebAssembly.Memory({ initial: 1 }).buffer, {
        transfer: [new WebAssembly.Memory({ initial: 1 }).buffer],
      }),
    () => structuredClone(new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))),
    () => structuredClone(new Error('x', { cause: structuredClone })),
    () =>
      structuredClone(
        Object.create(null, { x: { get: () => structuredClone(1), enumerable: true } }),
      ),
  ]
  for (const attempt of attempts)
    try {
      attempt()
    } catch (error) {
      if (error.constructor.constructor !== Function) return 'an error of another realm'
    }
  return 'held'
}
