// The result is refused in mid-stream, and closing its iterator never ends.
export default function () {
  emit('stream.txt', {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: Symbol('not text') }),
      return() {
        for (;;);
      },
    }),
  })
}
