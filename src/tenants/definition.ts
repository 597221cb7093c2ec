/** What is decided about a tenant, by the configuration file or through the API. */
import type { Tenant } from '../broker/types.ts'
import type { DeclaredTenant } from '../config/served.ts'
import { VfsError } from '../errors.ts'

export type TenantDefinition = DeclaredTenant

/** Throws VfsError: EINVAL where a range of ids is in another's. */
export function checkIds(tenant: Tenant, others: Iterable<Tenant>): void {
  for (const other of others) {
    if (other.name === tenant.name || !overlaps(tenant.ids, other.ids)) continue
    throw new VfsError('EINVAL', `the ids of ${tenant.name} overlap those of ${other.name}`)
  }
}

export function overlaps(a: Tenant['ids'], b: Tenant['ids']): boolean {
  return a.first < b.first + b.count && b.first < a.first + a.count
}

/** undefined: they may stay as they are. */
export function whatChanged(
  before: TenantDefinition,
  after: TenantDefinition,
): 'mount' | 'words' | undefined {
  const mount = (each: TenantDefinition): string =>
    JSON.stringify([each.ids, each.home, each.mountPoint, each.limits, each.bounds])
  if (mount(before) !== mount(after)) return 'mount'
  const words = (each: TenantDefinition): string =>
    JSON.stringify([
      Object.entries(each.labels).toSorted(([a], [b]) => (a < b ? -1 : 1)),
      each.locality,
    ])
  return words(before) === words(after) ? undefined : 'words'
}
