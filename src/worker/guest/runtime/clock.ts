/* oxlint-disable typescript/unbound-method -- methods are taken from their prototypes on purpose */
/** Time stands still, at the moment that the run was given. */
import { Date as RealDate, apply, construct, defineProperty } from './primordials.ts'

let nowMs = 0

export function setClock(ms: number): void {
  nowMs = ms
}

/** `Date` in all but the present; the constructor that knows the time is not to be had. */
function StillDate(this: unknown, ...parts: unknown[]): unknown {
  if (new.target === undefined) return new RealDate(nowMs).toString()
  return construct(RealDate, parts.length === 0 ? [nowMs] : parts, new.target)
}

export function installClock(world: typeof globalThis): void {
  const { prototype, parse, UTC } = RealDate
  defineProperty(StillDate, 'name', { value: 'Date' })
  defineProperty(StillDate, 'length', { value: 7 })
  defineProperty(StillDate, 'prototype', { value: prototype, writable: false })
  const methods = { now: () => nowMs, parse, UTC }
  for (const [name, value] of Object.entries(methods)) {
    defineProperty(StillDate, name, { value, writable: true, configurable: true })
  }
  prototype.constructor = StillDate
  defineProperty(world, 'Date', { value: StillDate, writable: true, configurable: true })

  const performance = { now: () => 0, timeOrigin: 0, toJSON: () => ({ timeOrigin: 0 }) }
  defineProperty(performance, 'timeOrigin', { get: () => nowMs, enumerable: true })
  defineProperty(world, 'performance', { value: performance, writable: true, configurable: true })
  stillFormats()
}

/** `format()` without a date means now. */
function stillFormats(): void {
  const { prototype } = Intl.DateTimeFormat
  const { get } = Object.getOwnPropertyDescriptor(prototype, 'format') ?? {}
  if (get === undefined) throw new TypeError('Intl.DateTimeFormat has no format')
  defineProperty(prototype, 'format', {
    get(this: Intl.DateTimeFormat) {
      const format = apply(get, this, []) as (date?: unknown) => string
      return (date?: unknown) => format(date === undefined ? nowMs : date)
    },
    configurable: true,
  })
  const { formatToParts } = prototype
  defineProperty(prototype, 'formatToParts', {
    value(this: Intl.DateTimeFormat, date?: unknown) {
      return apply(formatToParts, this, [date === undefined ? nowMs : date]) as unknown
    },
    writable: true,
    configurable: true,
  })
}
