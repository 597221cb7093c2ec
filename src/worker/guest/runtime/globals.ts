/** The world that a program finds: what is added, replaced, and taken away. */
import { InputDirectory } from './files.ts'
import { defineProperty } from './primordials.ts'
import { emit } from './results.ts'

export function installGlobals(world: typeof globalThis, dir: InputDirectory): void {
  const add = (name: string, value: unknown): void => {
    defineProperty(world, name, { value, writable: true, configurable: true, enumerable: false })
  }
  add('dir', dir)
  add('emit', emit)
}
