/** The guest runtime: an isolate with the API of `docs/guest-api.md` in it, used for one run. */
import { readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { fileURLToPath } from 'node:url'
import ivm from 'isolated-vm'
import type { GuestError, RunLimits } from '../../sandbox/types.ts'
import type { Host } from '../host.ts'
import { Border } from './border.ts'
import {
  compileError,
  decodeSource,
  type Place,
  stripTypes,
  stripperBroken,
  warmStripper,
} from './source.ts'

const MiB = 1024 * 1024

/** `name` of a GuestError that stands for a limit; the message is a sentence of its own. */
export const MEMORY_LIMIT_ERROR = 'MemoryLimitError'
export const TIME_LIMIT_ERROR = 'TimeLimitError'

export interface GuestSlot {
  /** Strips types, compiles and links; runs nothing. Once. */
  compile(source: Uint8Array, library: Uint8Array | undefined): GuestError | undefined
  /** Once, after compile gave no error. */
  run(
    host: Host,
    options: { readonly seed: Uint8Array; readonly nowMs: number },
  ): Promise<GuestError | undefined>
  heapBytes(): number
  /** This process can no longer compile programs and is to be retired. */
  poisoned(): boolean
  dispose(): void
}

// Else the position of an error is worked out later, and where the stack ran out, it cannot be.
setFlagsFromString('--no-enable-lazy-source-positions')

// Each isolate runs a program once: compiling the runtime's functions when they are first called
// would be most of what a small program takes. So all at once, and from the code cache below.
setFlagsFromString('--no-lazy')

// Time zone and locale must not make the same program differ between machines.
process.env['TZ'] = 'UTC'

/** Read once, before the jail closes: name without extension → JavaScript. */
const runtimeSources = readRuntime()
/** The runtime's bytecode, from the first isolate for all later ones. */
const codeCache = new Map<string, ivm.ExternalCopy<ArrayBuffer>>()
const nativeModule = new ivm.NativeModule(
  fileURLToPath(new URL('../../../native/build/Release/guest.node', import.meta.url)),
)
warmStripper()

function readRuntime(): Map<string, string> {
  const folder = new URL('./runtime/', import.meta.url)
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const sources = new Map<string, string>()
  for (const file of readdirSync(folder)) {
    if (!file.endsWith(extension) || file.endsWith('.d.ts')) continue
    const text = readFileSync(new URL(file, folder), 'utf8')
    const code = extension === '.ts' ? stripTypeScriptTypes(text) : text
    sources.set(file.slice(0, -extension.length), code)
  }
  return sources
}

export function createGuestSlot(limits: RunLimits): GuestSlot {
  return new IsolateSlot(limits)
}

class IsolateSlot implements GuestSlot {
  readonly #limits: RunLimits
  readonly #isolate: ivm.Isolate
  readonly #border = new Border()
  readonly #compile: ivm.Reference
  readonly #run: ivm.Reference
  readonly #finish: ivm.Reference
  readonly #forget: ivm.Reference

  constructor(limits: RunLimits) {
    this.#limits = limits
    this.#isolate = new ivm.Isolate({
      memoryLimit: Math.max(8, Math.ceil(limits.memoryBytes / MiB)),
      // Without onCatastrophicError V8 ends the process, an ordinary death for its parent. With it
      // isolated-vm would put this very thread to sleep for good.
    })
    const context = this.#isolate.createContextSync()
    const entry = this.#loadRuntime(context)
    const exported = (name: string): ivm.Reference =>
      entry.namespace.getSync(name, { reference: true })
    const natives = nativeModule.createSync(context)
    const bounds = new ivm.ExternalCopy({
      // A line as one string and its bytes must fit beside what the program keeps.
      lineBytes: Math.min(64 * MiB, Math.floor(limits.memoryBytes / 4)),
      logBytes: limits.logBytes,
    }).copyInto({ release: true })
    // With a time limit, so that the timer's thread exists before the jail closes.
    exported('install').applySync(
      undefined,
      [natives.derefInto(), bounds, ...this.#border.callbacks()],
      { timeout: 10_000 },
    )
    this.#compile = exported('compile')
    this.#run = exported('run')
    this.#finish = exported('finish')
    this.#forget = exported('dispose')
  }

  #loadRuntime(context: ivm.Context): ivm.Module {
    const modules = new Map<string, ivm.Module>()
    const load = (name: string): ivm.Module => {
      let module = modules.get(name)
      if (module === undefined) {
        const source = runtimeSources.get(name)
        if (source === undefined) throw new Error(`the guest runtime lacks ${name}`)
        const filename = `insitu:${name}`
        const cachedData = codeCache.get(name)
        if (cachedData === undefined) {
          const first: ivm.Module & { cachedData?: ivm.ExternalCopy<ArrayBuffer> } =
            this.#isolate.compileModuleSync(source, { filename, produceCachedData: true })
          if (first.cachedData !== undefined) codeCache.set(name, first.cachedData)
          module = first
        } else {
          module = this.#isolate.compileModuleSync(source, { filename, cachedData })
        }
        modules.set(name, module)
      }
      return module
    }
    const entry = load('entry')
    entry.instantiateSync(context, (specifier) =>
      load(specifier.replace(/^\.\//, '').replace(/\.[tj]s$/, '')),
    )
    entry.evaluateSync()
    return entry
  }

  compile(source: Uint8Array, library: Uint8Array | undefined): GuestError | undefined {
    try {
      if (library !== undefined) {
        const error = this.#compileOne(library, true)
        if (error !== undefined) {
          return compileError({ ...error, message: `the attached program: ${error.message}` })
        }
      }
      const error = this.#compileOne(source, false)
      return error === undefined ? undefined : compileError(error)
    } catch (error) {
      return this.#death(error)
    }
  }

  #compileOne(source: Uint8Array, asLibrary: boolean): Place | undefined {
    if (source.length > this.#limits.programBytes) {
      return {
        message: `the program has ${source.length} bytes, over the limit of ${this.#limits.programBytes}`,
        line: undefined,
        column: undefined,
      }
    }
    const text = decodeSource(source)
    if (typeof text !== 'string') return text
    // JavaScript first: most of what is both means the same, and where it does not, as in
    // `a < b > (c)`, a program without types is meant.
    const plain = this.#compileText(text, asLibrary)
    if (plain === undefined) return undefined
    const stripped = stripTypes(text)
    if ('error' in stripped) return stripped.error
    return stripped.code === text ? plain : this.#compileText(stripped.code, asLibrary)
  }

  /** A script if it parses as one, else a module; in one call, as each costs a tenth of a millisecond. */
  #compileText(text: string, asLibrary: boolean): Place | undefined {
    const found: unknown = this.#compile.applySync(undefined, [text, asLibrary], {
      timeout: this.#limits.wallMs,
    })
    if (found === '') return undefined
    const { script, module } = parsed(found)
    const asScript = asPlace(script)
    return MODULE_SYNTAX.test(asScript.message) ? asPlace(module) : asScript
  }

  async run(
    host: Host,
    options: { readonly seed: Uint8Array; readonly nowMs: number },
  ): Promise<GuestError | undefined> {
    const deadline = performance.now() + this.#limits.wallMs
    this.#border.attach(host, options.seed)
    try {
      this.#run.applySync(undefined, [options.nowMs], { timeout: this.#limits.wallMs })
      const found: unknown = this.#finish.applySync(undefined, [], {
        timeout: Math.max(1, Math.ceil(deadline - performance.now())),
      })
      return found === '' ? undefined : asGuestError(found)
    } catch (error) {
      return this.#death(error)
    } finally {
      this.#border.detach()
    }
  }

  /** isolated-vm throws plain errors of its own, told apart by their text only. */
  #death(error: unknown): GuestError {
    const text = error instanceof Error ? error.message : ''
    if (text.includes('memory limit') || this.#isolate.isDisposed) {
      return plainError(
        MEMORY_LIMIT_ERROR,
        `the program used more than its ${Math.floor(this.#limits.memoryBytes / MiB)} MiB of memory`,
      )
    }
    if (text === 'Script execution timed out.') {
      return plainError(TIME_LIMIT_ERROR, `the program ran longer than ${this.#limits.wallMs} ms`)
    }
    return plainError('Error', 'the program broke its runtime')
  }

  heapBytes(): number {
    if (this.#isolate.isDisposed) return 0
    const heap = this.#isolate.getHeapStatisticsSync()
    return heap.total_heap_size + heap.externally_allocated_size
  }

  poisoned(): boolean {
    return stripperBroken() || this.#isolate.isDisposed
  }

  dispose(): void {
    this.#border.detach()
    if (this.#isolate.isDisposed) return
    try {
      this.#forget.applySync(undefined, [])
    } finally {
      this.#isolate.dispose()
    }
  }
}

const MODULE_SYNTAX =
  /import statement outside a module|Unexpected token 'export'|'import\.meta'|await is only valid/

function plainError(name: string, message: string): GuestError {
  return { name, message, stack: `${name}: ${message}`, line: undefined, column: undefined }
}

/** What the isolate says about itself is checked like anything else from there. */
function parsed(value: unknown): Record<string, unknown> {
  try {
    return fields(typeof value === 'string' ? JSON.parse(value) : undefined)
  } catch {
    return {}
  }
}

function fields(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function text(value: unknown, otherwise: string, bound: number): string {
  return typeof value === 'string' && value !== '' ? value.slice(0, bound) : otherwise
}

function place(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : undefined
}

function asPlace(value: unknown): Place {
  const { message, line, column } = fields(value)
  return {
    message: text(message, 'it does not compile', 4_100).replace(/^Uncaught (SyntaxError: )?/, ''),
    line: place(line),
    column: place(column),
  }
}

function asGuestError(value: unknown): GuestError {
  const { name, message, stack, line, column } = parsed(value)
  const shown = text(message, '', 4_100)
  return {
    name: text(name, 'Error', 100),
    message: shown,
    stack: text(stack, shown, 8_100),
    line: place(line),
    column: place(column),
  }
}
