/**
 * The grammar of paths that tenants send: where a grant stands in their mount (`at`), and what part of
 * a volume it is (`subpath`). What passes here is a plain relative path without surprises; that no link
 * is followed on it is the business of whoever opens it.
 */
import { DEFAULT_RESERVED_NAMES } from '../config/limits.ts'
import type { ContainerPlace } from './types.ts'

/** A component that a directory can hold: NAME_MAX of Linux, in bytes. */
const MAX_COMPONENT_BYTES = 255
/** PATH_MAX holds the NUL as well, and the mount point stands before it. */
const MAX_PATH_BYTES = 4_095
/** Each level is a directory to make and to guard. */
const MAX_DEPTH = 64

const RESERVED = new Set<string>(Object.values(DEFAULT_RESERVED_NAMES))
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/

/** A sentence that says what is wrong with it; undefined: nothing. */
export function faultOfAt(path: string): string | undefined {
  return path === '' ? 'a grant cannot stand at the mount itself' : faultOf(path)
}

/** '' is all of the volume. */
export function faultOfSubpath(path: string): string | undefined {
  return path === '' ? undefined : faultOf(path)
}

/** Of a path in a container, absolute. */
export function faultOfTarget(path: string): string | undefined {
  if (!path.startsWith('/')) return 'it is an absolute path'
  return path === '/' ? 'it is not the root' : faultOf(path.slice(1))
}

/** Where a grant inside a container stands: no path of a tenant's mount begins with a slash. */
export function atInside({ consumer, target }: ContainerPlace): string {
  return `/${consumer.container?.slice(0, 12) ?? consumer.pid}${target}`
}

function faultOf(path: string): string | undefined {
  if (!path.isWellFormed()) return 'a path is well-formed Unicode'
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `a path is at most ${MAX_PATH_BYTES} bytes`
  if (CONTROL.test(path)) return 'a path has no control characters'
  if (path.startsWith('/')) return 'a path is relative, without a slash before it'
  const parts = path.split('/')
  if (parts.length > MAX_DEPTH) return `a path is at most ${MAX_DEPTH} directories deep`
  for (const part of parts) {
    if (part === '') return 'a path has no empty parts, also not at its end'
    if (part === '.' || part === '..') return `a path has no part "${part}"`
    if (Buffer.byteLength(part) > MAX_COMPONENT_BYTES)
      return `each part of a path is at most ${MAX_COMPONENT_BYTES} bytes`
    if (RESERVED.has(part)) return `"${part}" is a reserved name`
  }
  return undefined
}

/** `path` is `above` or below it; both are of the grammar, '' is above all. */
export function isWithin(path: string, above: string): boolean {
  return above === '' || path === above || path.startsWith(`${above}/`)
}

/** One of them is the other or above it. */
export function overlap(one: string, other: string): boolean {
  return isWithin(one, other) || isWithin(other, one)
}

export function depthOf(path: string): number {
  return path.split('/').length
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/

/** Of a tenant, a volume or a policy: good for a file name, a label, a URL. */
export function isName(text: string): boolean {
  return NAME.test(text)
}
