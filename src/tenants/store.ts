/** The tenants that were made through the API, as they outlive the daemon. */
import type { Tenant } from '../broker/types.ts'

export interface StoredTenant {
  readonly tenant: Tenant
  /** Its removal began, and goes on until nothing of it is left. */
  readonly removing: { readonly purge: boolean } | undefined
}

/** Each call is durable when it returns. */
export interface TenantStore {
  list(): readonly StoredTenant[]
  put(stored: StoredTenant): void
  delete(name: string): void
}
