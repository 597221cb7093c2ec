// Sorting and joining buffers that change size meanwhile: old crashes of engines.
const buffer = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 22 })
const view = new Uint32Array(buffer)
for (let i = 0; i < 50; i++)
  for (const attempt of [
    () => view.sort(() => (buffer.resize(1 << 10), 1)),
    () => view.fill({ valueOf: () => (buffer.resize(0), 7) }),
    () =>
      view
        .subarray({ valueOf: () => (buffer.resize(1 << 21), 4) })
        .set([1, 2, 3], { valueOf: () => (buffer.resize(8), 0) }),
    () => view.copyWithin({ valueOf: () => (buffer.resize(64), 1) }, 2),
    () => view.lastIndexOf(1, { valueOf: () => (buffer.resize(1 << 22), -1) }),
    () => view.join({ toString: () => (buffer.resize(16), ',') }),
    () => view.map(() => (buffer.resize(1 << 12), 1)),
    () =>
      Reflect.construct(Uint8Array, [buffer, { valueOf: () => (buffer.resize(4), 0) }, 1 << 20]),
    () => new DataView(buffer, 0, 1 << 10).getBigUint64({ valueOf: () => (buffer.resize(4), 0) }),
    () => buffer.slice({ valueOf: () => (buffer.resize(32), 0) }, 1 << 20),
  ])
    try {
      attempt()
    } catch (error) {
      if (error.constructor.constructor !== Function) throw new Error('another realm')
    } finally {
      buffer.resize(1 << 20)
    }
;('held')
