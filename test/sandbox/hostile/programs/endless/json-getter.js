// Each look at the object finds a new one below it.
const deeper = () =>
  new Proxy(
    {},
    {
      ownKeys: () => ['next'],
      getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true, value: 0 }),
      get: (_, key) => (key === 'next' ? deeper() : undefined),
    },
  )
export default () => deeper()
