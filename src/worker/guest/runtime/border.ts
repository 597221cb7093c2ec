/**
 * What the runtime has of the outside: native functions of its own context, and calls to the
 * worker's trusted half, which take and give only strings, numbers and bytes.
 */
import { Error, charCodeAt, defineProperty, indexOf, slice } from './primordials.ts'

/** native/worker/ */
export interface Natives {
  preadInto(fd: number, into: Uint8Array, at: number, length: number, position: number): number
  splitLines(bytes: Uint8Array, start: number, end: number, final: boolean): (string | number)[]
  decodeUtf8(bytes: Uint8Array): string | undefined
  validUtf8Prefix(bytes: Uint8Array): number
  utf8Length(text: string): number
  encodeUtf8Into(text: string, into: Uint8Array, at: number): [read: number, written: number]
  cloneValue(value: unknown, moved: ArrayBuffer[]): unknown
  compileProgram(source: string, asModule: boolean, asLibrary: boolean): CompileFailure | undefined
  evaluateProgram(): unknown
  callProgram(program: (dir: object) => unknown, dir: object): unknown
  programNamespace(): { default?: unknown } | undefined
  whereThrown(
    value: unknown,
  ): [frames: string, line: number | undefined, column: number | undefined]
  unhandledRejection(): [value: unknown] | undefined
  forgetProgram(): void
}

export type CompileFailure = [
  name: string,
  message: string,
  line: number | undefined,
  column: number | undefined,
]

/** Each gives '=' and its answer, or '!CODE message' where it is refused. */
export interface HostCalls {
  /** `fd size mtimeMs` */
  open(path: string): string
  close(fd: number): void
  /** `kind size mtimeMs` */
  stat(path: string): string
  /** JSON of [name, kind] pairs. */
  list(path: string): string
  begin(name: string): string
  write(bytes: Uint8Array): string
  log(text: string): void
  /** 64 hex digits: what randomness stands on now. */
  seed(): string
  /** JSON of a URL's parts, or '' if it is none. */
  url(href: string, base: string | undefined): string
  urlWith(href: string, part: string, value: string): string
}

/** In the order of the worker's `Border.callbacks`. */
export type HostCallList = [
  open: HostCalls['open'],
  close: HostCalls['close'],
  stat: HostCalls['stat'],
  list: HostCalls['list'],
  begin: HostCalls['begin'],
  write: HostCalls['write'],
  log: HostCalls['log'],
  seed: HostCalls['seed'],
  url: HostCalls['url'],
  urlWith: HostCalls['urlWith'],
]

export interface Bounds {
  readonly lineBytes: number
  readonly logBytes: number
}

export let natives: Natives
export let host: HostCalls
export let bounds: Bounds

export function connect(n: Natives, h: HostCalls, b: Bounds): void {
  natives = n
  host = h
  bounds = b
}

/** The answer, or an Error of the program's own world, with `code` and `path`. */
export function answer(reply: string, path?: string): string {
  if (charCodeAt(reply, 0) === 0x3d /* = */) return slice(reply, 1)
  const space = indexOf(reply, ' ')
  const error = new Error(slice(reply, space + 1))
  const code = slice(reply, 1, space)
  defineProperty(error, 'code', { value: code, configurable: true, writable: true })
  if (path !== undefined) {
    defineProperty(error, 'path', { value: path, configurable: true, writable: true })
  }
  throw error
}
