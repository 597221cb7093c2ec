throw new Proxy(new Error('behind'), {
  get() {
    throw new Error('no looking')
  },
  getPrototypeOf() {
    throw new Error('no looking')
  },
  has() {
    throw new Error('no looking')
  },
  getOwnPropertyDescriptor() {
    throw new Error('no looking')
  },
})
