// Buffers that shrink, move or vanish between the check and the copy.
export default function () {
  const buffer = new ArrayBuffer(1 << 20, { maxByteLength: 1 << 21 })
  const view = new Uint8Array(buffer).fill(65)
  emit(
    'shrinks',
    (function* () {
      yield view
      buffer.resize(16)
      yield view
      buffer.resize(1 << 21)
      yield view
    })(),
  )
  let other = new Uint8Array(1 << 20).fill(66)
  const vanishing = {
    [Symbol.iterator]: () => {
      let step = 0
      return {
        next: () => ({
          get done() {
            return step > 3
          },
          get value() {
            step++
            const current = other
            other = new Uint8Array(other.buffer.transfer(1 << (20 - step)))
            return step % 2 === 0 ? current : other
          },
        }),
      }
    },
  }
  try {
    emit('vanishes', vanishing)
  } catch {
    // A detached buffer is no data.
  }
  const bytes = new Uint8Array(1 << 16)
  crypto.getRandomValues(bytes)
  try {
    new TextDecoder().decode(bytes, {
      get stream() {
        bytes.buffer.transfer(0)
        return false
      },
    })
  } catch {
    // Nor is it text.
  }
  return 'held'
}
