// Iterators that break their contract in each way there is.
export default function () {
  const kept = []
  const games = {
    'no-next': { [Symbol.iterator]: () => ({}) },
    'not-an-iterator': { [Symbol.iterator]: () => 7 },
    'not-a-function': { [Symbol.iterator]: 7 },
    'result-is-a-number': { [Symbol.iterator]: () => ({ next: () => 7 }) },
    'done-throws': {
      [Symbol.iterator]: () => ({
        next: () => ({
          get done() {
            throw new Error('done')
          },
        }),
      }),
    },
    'value-throws': {
      [Symbol.iterator]: () => ({
        next: () => ({
          done: false,
          get value() {
            throw new Error('value')
          },
        }),
      }),
    },
    'return-throws': {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: Symbol('x') }),
        return: () => {
          throw new Error('return')
        },
      }),
    },
    'throws-nothing': {
      [Symbol.iterator]: () => ({
        next: () => {
          throw undefined
        },
      }),
    },
    revoked: (() => {
      const { proxy, revoke } = Proxy.revocable({}, {})
      revoke()
      return proxy
    })(),
  }
  for (const [name, data] of Object.entries(games)) {
    try {
      emit(name, data)
      kept.push(name)
    } catch (error) {
      if (error !== undefined && error.constructor.constructor !== Function) return 'another realm'
    }
  }
  return 'held'
}
