// The error comes when nobody in the program can catch it any more.
emit('both.txt', {
  *[Symbol.iterator]() {
    yield 'sync'
  },
  [Symbol.asyncIterator]: () => ({
    next: () => {
      throw new Error('from the iterator')
    },
  }),
})
