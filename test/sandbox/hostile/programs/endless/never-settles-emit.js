// The run itself ends; what it promised to emit never does.
export default function () {
  emit('never.txt', {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
  })
}
