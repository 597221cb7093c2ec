/** What no schema can say: how the parts of a file fit each other. Pure; nothing on disk is looked at. */
import { BlockList, isIP } from 'node:net'
import { addressOf, rangeOf } from './converted.ts'
import { IMAGE_BLOCK_BYTES, LEAST_IMAGE_BYTES } from './limits.ts'
import type { File } from './schema.ts'
import { formatSize, parseDuration, parseSize } from './units.ts'

export type Complain = (key: readonly string[], message: string) => void

/** The highest id that the kernel takes; one more means "none". */
const MAX_ID = 0xffff_fffe
const LEAST_MEMORY_BYTES = 8 * 1024 * 1024

/** What the file declares, well or not. */
export interface Names {
  readonly tenants: ReadonlySet<string>
  readonly volumes: ReadonlySet<string>
}

export function checkFile(file: File, complain: Complain, names: Names): void {
  checkIds(file, complain)
  checkVolumes(file, complain)
  checkPolicies(file, complain, names)
  checkHttps(file, complain)
  const { tenant } = file.plugin ?? {}
  if (tenant !== undefined && !names.tenants.has(tenant))
    complain(['plugin', 'tenant'], `there is no tenant ${tenant} in this file`)
  checkLimits(file.limits, ['limits'], complain)
  for (const [name, { limits }] of Object.entries(file.tenants ?? {}))
    checkLimits(limits, ['tenants', name, 'limits'], complain)
}

function checkHttps({ https }: File, complain: Complain): void {
  if (https === undefined) return
  const [host, port] = addressOf(https.listen)
  const key = ['https', 'listen']
  const version = isIP(host)
  if (version === 0) complain(key, `${host} is no address`)
  else if (port < 1 || port > 65_535) complain(key, 'a port is from 1 to 65535')
  else if (https.beyondLoopback !== true && !LOOPBACK.check(host, `ipv${version as 4 | 6}`))
    complain(key, 'others than this machine reach it: to want that, add beyondLoopback: true')
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')

function checkIds({ tenants = {} }: File, complain: Complain): void {
  const known: { name: string; first: number; count: number }[] = []
  for (const [name, { ids }] of Object.entries(tenants)) {
    const range = rangeOf(ids)
    const key = ['tenants', name, 'ids']
    if (range.first < 1) complain(key, 'id 0 is root’s and cannot be a tenant’s')
    else if (range.count < 1) complain(key, 'the range ends before it begins')
    else if (range.first + range.count - 1 > MAX_ID) complain(key, `ids go up to ${MAX_ID}`)
    const other = known.find(
      (each) => range.first < each.first + each.count && each.first < range.first + range.count,
    )
    if (other !== undefined) complain(key, `the range overlaps that of tenant ${other.name}`)
    known.push({ name, ...range })
  }
}

interface Place {
  readonly path: string
  readonly key: readonly string[]
  readonly what: string
}

/** No tree may be in another: who has one would have both, and a mount could hide it. */
export function checkPlaces(file: File, complain: Complain): void {
  const places: Place[] = []
  const add = (path: string | undefined, key: readonly string[], what: string): void => {
    if (path === undefined) return
    const mine = withoutSlash(path)
    if (
      mine !== '/' &&
      mine.split('/').some((part, at) => at > 0 && ['', '.', '..'].includes(part))
    )
      complain(key, 'a path has no empty parts, "." and ".."')
    const other = places.find((each) => isIn(mine, each.path) || isIn(each.path, mine))
    if (other !== undefined)
      complain(
        key,
        mine === other.path
          ? `is also ${other.what}`
          : isIn(mine, other.path)
            ? `is inside ${other.what}, ${other.path}`
            : `contains ${other.what}, ${other.path}`,
      )
    places.push({ path: mine, key, what })
  }
  add(file.state ?? '/var/lib/insitu', ['state'], 'the state directory')
  add(file.runtime ?? '/run/insitu', ['runtime'], 'the runtime directory')
  for (const [name, { home, mountPoint }] of Object.entries(file.tenants ?? {})) {
    add(home, ['tenants', name, 'home'], `the home of tenant ${name}`)
    add(mountPoint, ['tenants', name, 'mountPoint'], `the mount point of tenant ${name}`)
  }
  for (const [name, { path }] of Object.entries(file.volumes ?? {}))
    add(path, ['volumes', name, 'path'], `volume ${name}`)
}

/** What each kind has. */
function checkVolumes({ volumes = {} }: File, complain: Complain): void {
  for (const [name, { kind, path, size, filesystem, owner }] of Object.entries(volumes)) {
    const key = ['volumes', name]
    const has = (field: string): void =>
      complain([...key, field], `a volume of the kind ${kind ?? 'directory'} has none`)
    if (kind === 'image') {
      if (path !== undefined) has('path')
      if (size === undefined) complain(key, 'an image has a size')
      else checkImageSize(size, filesystem ?? 'ext4', [...key, 'size'], complain)
      continue
    }
    if (path === undefined) complain(key, 'expected a path, or kind: image and a size')
    if (size !== undefined) has('size')
    if (filesystem !== undefined) has('filesystem')
    if (owner !== undefined) has('owner')
  }
}

function checkImageSize(
  text: string | number,
  filesystem: keyof typeof LEAST_IMAGE_BYTES,
  key: readonly string[],
  complain: Complain,
): void {
  const bytes = parseSize(String(text))
  const least = LEAST_IMAGE_BYTES[filesystem]
  if (bytes === undefined) complain(key, 'expected a size above 0 and below 8192T')
  else if (bytes < least)
    complain(key, `an image of ${filesystem} has at least ${formatSize(least)}`)
  else if (bytes % IMAGE_BLOCK_BYTES !== 0)
    complain(key, `an image has a multiple of ${IMAGE_BLOCK_BYTES} bytes`)
}

function checkPolicies(
  { policies = {}, volumes = {} }: File,
  complain: Complain,
  declared: Names,
): void {
  for (const [name, policy] of Object.entries(policies)) {
    policy.tenants.forEach((tenant, at) => {
      if (tenant !== '*' && !declared.tenants.has(tenant))
        complain(
          ['policies', name, 'tenants', String(at)],
          `there is no tenant ${tenant} in this file`,
        )
    })
    const { names = [], labels = {} } = policy.volumes
    names.forEach((volume, at) => {
      if (volume !== '*' && !declared.volumes.has(volume))
        complain(
          ['policies', name, 'volumes', 'names', String(at)],
          `there is no volume ${volume} in this file`,
        )
    })
    if (names.length === 0 && Object.keys(labels).length === 0)
      complain(['policies', name, 'volumes'], 'it fits no volume: give names or labels')
    policy.subpaths?.forEach((subpath, at) => {
      if (subpath !== '' && subpath.split('/').some((part) => ['', '.', '..'].includes(part)))
        complain(
          ['policies', name, 'subpaths', String(at)],
          'a path below a volume has no empty parts, "." and ".."',
        )
    })
    checkDuration(policy.maxTtl, ['policies', name, 'maxTtl'], complain)
    checkSize(policy.maxQuota, ['policies', name, 'maxQuota'], complain)
  }
  for (const [name, { class: level }] of Object.entries(volumes)) {
    checkDuration(level?.latencyP99, ['volumes', name, 'class', 'latencyP99'], complain)
    checkSize(level?.throughput, ['volumes', name, 'class', 'throughput'], complain)
  }
}

function checkLimits(limits: File['limits'], key: readonly string[], complain: Complain): void {
  if (limits === undefined) return
  for (const each of ['wall', 'cpu'] as const) checkDuration(limits[each], [...key, each], complain)
  for (const each of ['memory', 'output', 'log', 'program', 'stored', 'sources', 'logs'] as const)
    checkSize(limits[each], [...key, each], complain)
  const memory = limits.memory === undefined ? undefined : parseSize(String(limits.memory))
  if (memory !== undefined && memory < LEAST_MEMORY_BYTES)
    complain([...key, 'memory'], 'a program needs at least 8M')
}

/** The schema knows their shape; they may still be 0, or too large for a number. */
function checkSize(
  text: string | number | undefined,
  key: readonly string[],
  complain: Complain,
): void {
  if (text !== undefined && parseSize(String(text)) === undefined)
    complain(key, 'expected a size above 0 and below 8192T')
}

function checkDuration(
  text: string | number | undefined,
  key: readonly string[],
  complain: Complain,
): void {
  if (text !== undefined && parseDuration(String(text)) === undefined)
    complain(key, 'expected a duration of at least 1ms')
}

function withoutSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') || '/' : path
}

/** Also the same. */
function isIn(inner: string, outer: string): boolean {
  return inner === outer || outer === '/' || inner.startsWith(`${outer}/`)
}
