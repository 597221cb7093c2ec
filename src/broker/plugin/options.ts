/** `podman volume create -o KEY=VALUE`: what the driver options of a container engine's volume ask for. */
import { parseSize } from '../../config/units.ts'
import { BrokerError } from '../broker-error.ts'
import { faultOfAt, faultOfSubpath, isName } from '../paths.ts'
import type { MountRequest } from '../types.ts'

export interface Wanted {
  readonly tenant: string
  readonly request: MountRequest
}

const KEYS = ['tenant', 'volume', 'class', 'mode', 'subpath', 'quota', 'compute', 'at'] as const
const LABEL = 'label.'
const MAX_OPTIONS = 64
const MAX_TEXT = 4_096

/** Below it stand the volumes that do not say where. */
const AT = 'volumes'

/** BrokerError. Without `volume`, `class` and labels the engine's name is the volume's. */
export function toWanted(
  name: string,
  options: Readonly<Record<string, string>>,
  standardTenant: string | undefined,
): Wanted {
  checkKeys(options)
  const at = options['at'] ?? `${AT}/${name}`
  const subpath = options['subpath'] ?? ''
  for (const [key, fault] of [
    ['at', faultOfAt(at)],
    ['subpath', faultOfSubpath(subpath)],
  ] as const)
    if (fault !== undefined) throw new BrokerError('bad-path', `"${key}": ${fault}`)
  return {
    tenant: tenantOf(options, standardTenant),
    request: {
      ...volumeOf(name, options),
      at,
      mode: oneOf(options, 'mode', ['ro', 'rw']),
      subpath,
      ttlMs: undefined,
      quotaBytes: quotaOf(options),
      compute: oneOf(options, 'compute', ['false', 'true']) === 'true',
    },
  }
}

function checkKeys(options: Readonly<Record<string, string>>): void {
  const all = Object.entries(options)
  if (all.length > MAX_OPTIONS) throw bad('there are too many options')
  for (const [key, value] of all) {
    if (value.length > MAX_TEXT) throw bad(`the option "${key.slice(0, 63)}" is too long`)
    if (KEYS.some((known) => known === key) || (key.startsWith(LABEL) && key !== LABEL)) continue
    throw bad(`there is no option "${key.slice(0, 63)}"; known are ${KEYS.join(', ')}, label.KEY`)
  }
}

function tenantOf(
  options: Readonly<Record<string, string>>,
  standardTenant: string | undefined,
): string {
  const tenant = options['tenant'] ?? standardTenant
  if (tenant === undefined) throw bad('say whose it is: -o tenant=NAME')
  if (!isName(tenant)) throw bad('the option "tenant" is no name')
  return tenant
}

function volumeOf(
  name: string,
  options: Readonly<Record<string, string>>,
): Pick<MountRequest, 'volume' | 'select'> {
  const labels = Object.fromEntries(
    Object.entries(options)
      .filter(([key]) => key.startsWith(LABEL))
      .map(([key, value]) => [key.slice(LABEL.length), value]),
  )
  const described = options['class'] !== undefined || Object.keys(labels).length > 0
  if (described && options['volume'] !== undefined)
    throw bad('name a volume, or describe it by class and labels')
  if (described)
    return {
      volume: undefined,
      select: { class: options['class'], labels, minFreeBytes: undefined },
    }
  const volume = options['volume'] ?? name
  if (!isName(volume)) throw bad('say which volume: -o volume=NAME')
  return { volume, select: undefined }
}

function quotaOf({ quota }: Readonly<Record<string, string>>): number | undefined {
  if (quota === undefined) return undefined
  const bytes = parseSize(quota)
  if (bytes === undefined) throw bad('the option "quota" is a size, as 64M')
  return bytes
}

/** The first is what holds if it is left out. */
function oneOf<const T extends string>(
  options: Readonly<Record<string, string>>,
  key: string,
  values: readonly [T, ...T[]],
): T {
  const given = options[key]
  if (given === undefined) return values[0]
  const value = values.find((each) => each === given)
  if (value === undefined) throw bad(`the option "${key}" is ${values.join(' or ')}`)
  return value
}

function bad(message: string): BrokerError {
  return new BrokerError('bad-request', message)
}
