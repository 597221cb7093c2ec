import * as fs from 'node:fs/promises'
import type { StoreFiles } from '../../src/compute/result-files.ts'

/**
 * The real file system, whose Nth call from `arm` on fails, writes through handles included. A file
 * that could not be written whole is left behind half written, as a full disk leaves it.
 */
export class FailingFiles {
  calls = 0
  #failAt = 0
  #always = false
  #code = 'ENOSPC'

  /** `always`: from the Nth call on, every one fails. */
  arm(failAt: number, code = 'ENOSPC', always = false): void {
    this.calls = 0
    this.#failAt = failAt
    this.#code = code
    this.#always = always
  }

  disarm(): void {
    this.#failAt = 0
  }

  #count(name: string): void {
    this.calls += 1
    if (this.#failAt === 0) return
    if (this.calls === this.#failAt || (this.#always && this.calls > this.#failAt))
      throw Object.assign(new Error(`${this.#code}: injected into ${name}`), { code: this.#code })
  }

  readonly files: StoreFiles = new Proxy(fs, {
    get:
      (target, name: keyof StoreFiles) =>
      async (...args: unknown[]) => {
        if (name === 'writeFile') await fs.writeFile(String(args[0]), 'ha').catch(() => undefined)
        this.#count(name)
        if (name === 'writeFile') await fs.rm(String(args[0]))
        const call = target[name] as (...args: unknown[]) => Promise<unknown>
        const result = await call(...args)
        return name === 'open' ? this.#wrap(result as fs.FileHandle) : result
      },
  })

  #wrap(handle: fs.FileHandle): fs.FileHandle {
    const count = (name: string): void => this.#count(name)
    return new Proxy(handle, {
      get(target, name: keyof fs.FileHandle) {
        const member: unknown = target[name]
        if (typeof member !== 'function') return member
        return (...args: unknown[]): unknown => {
          if (name === 'write') count('handle.write')
          return Reflect.apply(member, target, args)
        }
      },
    })
  }
}
