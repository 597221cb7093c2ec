/** Which paths of the mount are virtual. */
import type { ControlName, ReservedNames } from '../types.ts'

export type VirtualPlace =
  /** The name `.compute`, `.query` or `.results`. */
  | { readonly kind: 'compute' | 'query' | 'results'; readonly directory: string }
  /** `.results/.last` */
  | { readonly kind: 'last'; readonly directory: string }
  | { readonly kind: 'control'; readonly directory: string; readonly name: ControlName }
  | { readonly kind: 'result' | 'last-result'; readonly directory: string; readonly name: string }
  /** Below a virtual directory, where nothing ever is. */
  | { readonly kind: 'nothing'; readonly directory: string }

export const LISTED_CONTROLS: readonly ControlName[] = ['.status', '.log', '.error', '.inputs']
const CONTROLS: readonly string[] = [...LISTED_CONTROLS, '.control']
export const LAST = '.last'
export const XATTR_PREFIX = 'user.insitu.'

/** `directory` is relative to the volume, '' its root. Undefined: an ordinary path. `isReal` tells of
 * entries of the backing directory that have a reserved name: they win. */
export function placeOf(
  path: string,
  reserved: ReservedNames,
  isReal: (path: string) => boolean,
): VirtualPlace | undefined {
  const names = path.split('/').slice(1)
  for (const [index, name] of names.entries()) {
    if (!name.startsWith('.')) continue
    const isLeaf = index === names.length - 1
    const kind = kindOf(name, reserved)
    if (kind === undefined || (!isLeaf && kind !== 'results')) continue
    if (isReal(`/${names.slice(0, index + 1).join('/')}`)) continue
    const directory = names.slice(0, index).join('/')
    if (isLeaf) return { kind, directory }
    return below(directory, names.slice(index + 1))
  }
  return undefined
}

function kindOf(
  name: string,
  reserved: ReservedNames,
): 'compute' | 'query' | 'results' | undefined {
  if (name === reserved.compute) return 'compute'
  if (name === reserved.results) return 'results'
  return name === reserved.query ? 'query' : undefined
}

function below(directory: string, names: readonly string[]): VirtualPlace {
  const [first = '', second, third] = names
  if (third !== undefined) return { kind: 'nothing', directory }
  if (second !== undefined)
    return first === LAST && !second.startsWith('.')
      ? { kind: 'last-result', directory, name: second }
      : { kind: 'nothing', directory }
  if (CONTROLS.includes(first)) return { kind: 'control', directory, name: first as ControlName }
  if (first === LAST) return { kind: 'last', directory }
  return first.startsWith('.')
    ? { kind: 'nothing', directory }
    : { kind: 'result', directory, name: first }
}
