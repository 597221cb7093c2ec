/** The rules that hold: of the configuration file, and those made through the API beside them. */
import type { Catalog } from './store/catalog.ts'
import type { Policy } from './types.ts'

export class Policies {
  readonly #catalog: Catalog
  #configured: readonly Policy[] = []
  #made: readonly Policy[]
  #all: readonly Policy[]

  constructor(catalog: Catalog) {
    this.#catalog = catalog
    this.#made = catalog.policies.all()
    this.#all = this.#made
  }

  all(): readonly Policy[] {
    return this.#all
  }

  isConfigured(name: string): boolean {
    return this.#configured.some((policy) => policy.name === name)
  }

  configure(policies: readonly Policy[]): void {
    this.#configured = policies
    this.#join()
  }

  put(policy: Policy): void {
    this.#catalog.policies.put(policy)
    this.#made = this.#catalog.policies.all()
    this.#join()
  }

  remove(name: string): boolean {
    const removed = this.#catalog.policies.remove(name)
    this.#made = this.#catalog.policies.all()
    this.#join()
    return removed
  }

  /** A name of the file wins over one that was made before. */
  #join(): void {
    const names = new Set(this.#configured.map(({ name }) => name))
    this.#all = [...this.#configured, ...this.#made.filter(({ name }) => !names.has(name))]
  }
}
