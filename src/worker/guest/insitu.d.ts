/**
 * Types for programs that run in insitu. Put this file beside a program, or name it in `files` of a
 * tsconfig.json with `"lib": ["es2024"]` and `"types": []`: there is no DOM and no Node.
 *
 * A program is a module whose default export is a function of the directory, or a plain script,
 * whose last expression's value is the result. What the function returns becomes the file `result`.
 */

/** The directory that the program is attached to. */
interface Directory {
  /** Last component of the path; '' for the program's own directory. */
  readonly name: string
  /** Relative to the program's directory; '' for itself. */
  readonly path: string
  /**
   * Files that match, sorted by the bytes of their paths; without a pattern, all whose name has
   * no leading dot. `*` and `?` match within a name, `**` any directories, `[a-z]` one
   * character, `{a,b}` alternatives. Links that lead to readable files count as files.
   */
  files(glob?: string): InputFile[]
  /** Directories that match, in the same way. */
  dirs(glob?: string): Directory[]
  /** Names of everything in it, sorted by their bytes. */
  names(): string[]
  /** `name` may hold '/', but leads down only. Nothing is looked up yet. */
  file(name: string): InputFile
  dir(name: string): Directory
}

/**
 * A file, or a range of one. Reading throws an Error with a `code` (ENOENT, EACCES, …). Each read
 * opens the file anew and sees it up to the size that it has then.
 */
interface InputFile {
  readonly name: string
  readonly path: string
  /** In bytes. */
  readonly size: number
  /** In ms since the epoch. */
  readonly lastModified: number
  exists(): boolean
  /** UTF-8; a byte order mark is left out, invalid bytes become U+FFFD. */
  text(): string
  /** Throws SyntaxError, which names the file. */
  // oxlint-disable-next-line typescript/no-explicit-any -- as JSON.parse has it
  json(): any
  bytes(): Uint8Array<ArrayBuffer>
  /** Without "\n" or "\r\n", in little memory however large the file. A line of more than 64 MiB,
   * or a quarter of the run's memory if that is less, is a RangeError. */
  lines(): IteratorObject<string, undefined>
  /** Pieces of `sizeBytes` (256 KiB), the last one shorter; each is yours to keep. */
  chunks(sizeBytes?: number): IteratorObject<Uint8Array<ArrayBuffer>, undefined>
  /** As Blob.slice: offsets in bytes, negative ones from the end. */
  slice(start?: number, end?: number): InputFile
}

type EmitBytes = ArrayBuffer | ArrayBufferView

declare const dir: Directory

/**
 * Makes the result file `name`: one path component, no leading dot, at most 255 bytes, once a run.
 * Text and bytes are written as they are. Of an iterable (but an array), text and bytes are
 * written one after the other, anything else as one line of JSON each. A promise is awaited.
 * All else becomes JSON.
 */
declare function emit(name: string, data: unknown): void

declare const console: Console

interface Console {
  log(...values: unknown[]): void
  info(...values: unknown[]): void
  warn(...values: unknown[]): void
  error(...values: unknown[]): void
  debug(...values: unknown[]): void
  trace(...values: unknown[]): void
  dir(value: unknown): void
  table(rows: unknown): void
  assert(condition?: unknown, ...values: unknown[]): void
  count(label?: string): void
  group(...values: unknown[]): void
  groupEnd(): void
  time(label?: string): void
  timeEnd(label?: string): void
  timeLog(label?: string): void
}

declare class TextEncoder {
  readonly encoding: 'utf-8'
  encode(text?: string): Uint8Array<ArrayBuffer>
  encodeInto(text: string, into: Uint8Array): { read: number; written: number }
}

/** utf-8, utf-16le, utf-16be and windows-1252 (latin1). */
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean })
  readonly encoding: string
  readonly fatal: boolean
  readonly ignoreBOM: boolean
  decode(bytes?: EmitBytes, options?: { stream?: boolean }): string
}

declare class URL {
  constructor(href: string | URL, base?: string | URL)
  static canParse(href: string | URL, base?: string | URL): boolean
  static parse(href: string | URL, base?: string | URL): URL | null
  href: string
  readonly origin: string
  protocol: string
  username: string
  password: string
  host: string
  hostname: string
  port: string
  pathname: string
  search: string
  hash: string
  readonly searchParams: URLSearchParams
  toString(): string
  toJSON(): string
}

declare class URLSearchParams {
  constructor(init?: string | Iterable<readonly [string, string]> | Record<string, string>)
  readonly size: number
  append(name: string, value: string): void
  delete(name: string, value?: string): void
  get(name: string): string | null
  getAll(name: string): string[]
  has(name: string, value?: string): boolean
  set(name: string, value: string): void
  sort(): void
  forEach(callback: (value: string, name: string, params: URLSearchParams) => void): void
  entries(): IterableIterator<[string, string]>
  keys(): IterableIterator<string>
  values(): IterableIterator<string>
  [Symbol.iterator](): IterableIterator<[string, string]>
  toString(): string
}

/** Seeded from tenant, program and the inputs opened so far, as Math.random is. */
declare const crypto: {
  getRandomValues<T extends ArrayBufferView>(array: T): T
  randomUUID(): string
}

/** The clock stands still: `now()` is always 0, and `Date.now()` when the program was attached. */
declare const performance: { now(): number; readonly timeOrigin: number }

declare function structuredClone<T>(value: T, options?: { transfer?: Iterable<ArrayBuffer> }): T
declare function queueMicrotask(callback: () => void): void
declare function atob(text: string): string
declare function btoa(text: string): string

/** In a query: the program that is attached to the directory. */
declare module '.compute' {
  // oxlint-disable-next-line typescript/no-explicit-any -- whatever it is
  const program: any
  export default program
}
