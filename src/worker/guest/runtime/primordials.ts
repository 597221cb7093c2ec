/* oxlint-disable typescript/unbound-method -- methods are taken from their prototypes on purpose */
/**
 * The language's own functions as they were before the program ran. The program may replace any
 * prototype's method; what the runtime does with names, descriptors and results must not go through
 * its replacements; arrays are taken apart by index, never by their iterator. (Nothing here keeps a guest in: the isolate and the jail do.)
 */
const { apply } = Reflect
const { defineProperty: define } = Object

/** `method` as a function of its receiver. */
export function uncurryThis<This, Arguments extends unknown[], Result>(
  method: (this: This, ...rest: Arguments) => Result,
): (self: This, ...rest: Arguments) => Result {
  return (self, ...rest) => apply(method, self, rest)
}

function getterOf(prototype: object, key: PropertyKey): (self: unknown) => unknown {
  const get = Object.getOwnPropertyDescriptor(prototype, key)?.get
  if (get === undefined) throw new TypeError(`no getter ${String(key)}`)
  return (self) => apply(get, self, [])
}

export const {
  Error,
  RangeError,
  TypeError,
  SyntaxError,
  Promise,
  Uint8Array,
  ArrayBuffer,
  Map,
  Set,
  Date,
  RegExp,
  Array,
  Object: ObjectFunction,
} = globalThis
export { apply }
export const { construct, ownKeys, getPrototypeOf, getOwnPropertyDescriptor } = Reflect
export const { create: createObject, freeze, setPrototypeOf } = Object
export const { parse: parseJson, stringify: stringifyJson } = JSON
export const { floor, min, max, imul } = Math
export const { isArray } = Array
export const { isInteger, isFinite: isFiniteNumber, isNaN: isNotANumber } = Number
export const { isView } = ArrayBuffer
export const { fromCharCode } = String
export const toText = String

export const slice = uncurryThis(String.prototype.slice)
export const charCodeAt = uncurryThis(String.prototype.charCodeAt)
export const indexOf = uncurryThis(String.prototype.indexOf)
export const padEnd = uncurryThis(String.prototype.padEnd)
export const repeat = uncurryThis(String.prototype.repeat)
export const toWellFormed = uncurryThis(String.prototype.toWellFormed)
export const lower = uncurryThis(String.prototype.toLowerCase)
export const split = uncurryThis(
  String.prototype.split as (this: string, separator: string, limit?: number) => string[],
)
export const push = uncurryThis(Array.prototype.push) as (self: unknown[], item: unknown) => number
export const pop = uncurryThis(Array.prototype.pop) as <T>(self: T[]) => T | undefined
export const shift = uncurryThis(Array.prototype.shift) as <T>(self: T[]) => T | undefined
export const join = uncurryThis(Array.prototype.join)
export const sort = uncurryThis(Array.prototype.sort) as <T>(
  self: T[],
  compare: (a: T, b: T) => number,
) => T[]
export const whenSettled = uncurryThis(Promise.prototype.then) as (
  self: Promise<unknown>,
  done: (value: unknown) => void,
  failed: (error: unknown) => void,
) => Promise<void>
const promiseResolve = uncurryThis(Promise.resolve as (this: unknown, value: unknown) => unknown)
export const resolved = (value: unknown): Promise<unknown> =>
  promiseResolve(Promise, value) as Promise<unknown>

const TypedArray = getPrototypeOf(Uint8Array) as unknown as { prototype: Uint8Array }
export const subarray = uncurryThis(TypedArray.prototype.subarray)
export const copyWithin = uncurryThis(TypedArray.prototype.copyWithin)
export const setBytes = uncurryThis(TypedArray.prototype.set)
export const byteLengthOf = getterOf(TypedArray.prototype, 'byteLength') as (
  self: unknown,
) => number
export const byteOffsetOf = getterOf(TypedArray.prototype, 'byteOffset') as (
  self: unknown,
) => number
export const bufferOf = getterOf(TypedArray.prototype, 'buffer') as (self: unknown) => ArrayBuffer
export const typedArrayName = getterOf(TypedArray.prototype, Symbol.toStringTag) as (
  self: unknown,
) => string | undefined
export const dataViewBuffer = getterOf(DataView.prototype, 'buffer') as (
  self: unknown,
) => ArrayBuffer
export const dataViewOffset = getterOf(DataView.prototype, 'byteOffset') as (
  self: unknown,
) => number
export const dataViewLength = getterOf(DataView.prototype, 'byteLength') as (
  self: unknown,
) => number
export const arrayBufferLength = getterOf(ArrayBuffer.prototype, 'byteLength') as (
  self: unknown,
) => number
export const IteratorPrototype: object = Iterator.prototype
export const symbolIterator: typeof Symbol.iterator = Symbol.iterator
export const symbolAsyncIterator: typeof Symbol.asyncIterator = Symbol.asyncIterator

/** A null-prototype record: `JSON.stringify` finds no `toJSON` of the program's on it. */
export function record<T extends object>(fields: T): T {
  return setPrototypeOf(fields, null) as T
}

/** As Object's own, with a descriptor that inherits nothing: `Object.prototype.get` may be the
 * program's. */
export function defineProperty(target: object, key: PropertyKey, fields: PropertyDescriptor): void {
  define(target, key, record(fields))
}

export const mapGet = uncurryThis(Map.prototype.get)
export const mapSet = uncurryThis(Map.prototype.set)
export const setHas = uncurryThis(Set.prototype.has)
export const setAdd = uncurryThis(Set.prototype.add)
export const setDelete = uncurryThis(Set.prototype.delete)
export const mapForEach = uncurryThis(Map.prototype.forEach)
export const setForEach = uncurryThis(Set.prototype.forEach)

export const compareUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
