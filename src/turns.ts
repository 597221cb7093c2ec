/** Lets one at a time in for each key, in order of arrival. */
export class Turns<K> {
  readonly #tails = new Map<K, Promise<void>>()

  /** Somebody is in. */
  has(key: K): boolean {
    return this.#tails.has(key)
  }

  async take<T>(key: K, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#tails.set(key, promise)
    try {
      await before
      return await work()
    } finally {
      resolve()
      if (this.#tails.get(key) === promise) this.#tails.delete(key)
    }
  }
}
