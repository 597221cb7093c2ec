// Every one of them waits for its turn with the trusted side.
for (let i = 0; ; i++)
  emit(`late-${i}.txt`, {
    async *[Symbol.asyncIterator]() {
      yield 'x'.repeat(1000)
    },
  })
