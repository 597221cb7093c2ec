/** The world that a program finds: what is added, replaced, and taken away. */
import { natives } from './border.ts'
import { installClock } from './clock.ts'
import { createConsole } from './console.ts'
import { TextDecoder, TextEncoder, atob, btoa } from './encoding.ts'
import { InputDirectory, InputFile } from './files.ts'
import {
  TypeError,
  construct,
  defineProperty,
  resolved,
  setPrototypeOf,
  whenSettled,
} from './primordials.ts'
import { getRandomValues, random, randomUUID } from './random.ts'
import { emit } from './results.ts'
import { URL, URLSearchParams } from './url.ts'

export function installGlobals(world: typeof globalThis, dir: InputDirectory): void {
  const add = (name: string, value: unknown): void => {
    defineProperty(world, name, { value, writable: true, configurable: true, enumerable: false })
  }
  removeSharing(world)
  installClock(world)
  defineProperty(world.Math, 'random', { value: random, writable: true, configurable: true })
  add('dir', dir)
  add('emit', emit)
  add('console', createConsole())
  add('crypto', { getRandomValues, randomUUID })
  add('structuredClone', structuredClone)
  add('queueMicrotask', queueMicrotask)
  for (const type of [TextEncoder, TextDecoder, URL, URLSearchParams]) add(type.name, type)
  for (const convert of [atob, btoa]) add(convert.name, convert)
  // Their constructors are the runtime's.
  for (const type of [InputFile, InputDirectory]) {
    defineProperty(type.prototype, 'constructor', { value: world.Object, configurable: true })
  }
}

interface MemoryDescriptor {
  readonly initial: number
  readonly maximum?: number
  readonly shared?: boolean
}

interface MemoryConstructor {
  new (descriptor: MemoryDescriptor): object
  prototype: { constructor: MemoryConstructor }
}

/**
 * No memory that others could change meanwhile, no clock made of counting threads, nothing that
 * tells when garbage is collected. The prototype's `constructor` goes too: a shared Wasm memory's
 * buffer would lead back to it.
 */
function removeSharing(world: typeof globalThis): void {
  for (const type of [world.SharedArrayBuffer, world.WeakRef, world.FinalizationRegistry]) {
    Reflect.deleteProperty(type.prototype, 'constructor')
    Reflect.deleteProperty(world, type.name)
  }
  Reflect.deleteProperty(world, 'Atomics')

  const { WebAssembly } = world as unknown as { WebAssembly: { Memory: MemoryConstructor } }
  const { Memory } = WebAssembly
  const Unshared = function (this: unknown, descriptor: MemoryDescriptor): unknown {
    if (new.target === undefined) throw new TypeError('WebAssembly.Memory must be called with new')
    // Read once, so that a getter cannot answer differently the second time.
    const { initial, maximum, shared } = descriptor
    if (shared) throw new TypeError('WebAssembly.Memory: shared memory is not available')
    const plain = maximum === undefined ? { initial } : { initial, maximum }
    return construct(Memory, [plain], new.target)
  }
  defineProperty(Unshared, 'name', { value: 'Memory' })
  defineProperty(Unshared, 'prototype', { value: Memory.prototype, writable: false })
  setPrototypeOf(Unshared, Function.prototype)
  Memory.prototype.constructor = Unshared as unknown as MemoryConstructor
  defineProperty(WebAssembly, 'Memory', {
    value: Unshared,
    writable: true,
    configurable: true,
  })
}

function structuredClone(value: unknown, options: { transfer?: Iterable<unknown> } = {}): unknown {
  const moved = options.transfer === undefined ? [] : [...options.transfer]
  try {
    return natives.cloneValue(value, moved as ArrayBuffer[])
  } catch (error) {
    if (error instanceof Error && !('code' in error)) {
      defineProperty(error, 'name', { value: 'DataCloneError', configurable: true })
    }
    throw error
  }
}

function queueMicrotask(callback: unknown): void {
  if (typeof callback !== 'function') throw new TypeError('queueMicrotask: takes a function')
  // What it throws is a rejection that nobody handles, and so the run's error.
  void whenSettled(resolved(undefined), () => callback() as unknown, rethrow)
}

function rethrow(error: unknown): never {
  throw error
}
