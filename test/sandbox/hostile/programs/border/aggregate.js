throw new AggregateError(
  new Array(100_000).fill(0).map((_, i) => new Error(`one ${i}`)),
  'many',
)
