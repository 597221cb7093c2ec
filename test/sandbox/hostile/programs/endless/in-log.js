// The loop runs while the console formats its argument.
console.log({
  get value() {
    for (;;);
  },
  toString() {
    for (;;);
  },
  toJSON() {
    for (;;);
  },
  [Symbol.toPrimitive]() {
    for (;;);
  },
})
console.log(
  new Proxy(
    {},
    {
      ownKeys() {
        for (;;);
      },
      get() {
        for (;;);
      },
    },
  ),
)
for (;;);
