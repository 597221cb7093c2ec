/** The broker as the daemon of many tenants holds it, and the tenants that its state remembers. */
import type { Broker, Reconciliation } from '../broker/ports.ts'
import path from 'node:path'
import { Store } from '../broker/store/index.ts'
import type { Tenant } from '../broker/types.ts'
import type { ServeConfiguration } from '../config/served.ts'
import type { Logger } from '../telemetry/log.ts'
import type { SeatBroker } from '../tenants/seat.ts'
import type { StoredTenant, TenantStore } from '../tenants/store.ts'

export interface TenantBroker {
  readonly broker: Broker & SeatBroker
  readonly store: TenantStore
}

export async function openTenantBroker({
  configuration,
}: {
  readonly configuration: ServeConfiguration
  readonly log: Logger
}): Promise<TenantBroker> {
  const store = new Store(path.join(configuration.state, 'broker.db'))
  return { broker: withoutGrants(() => store.close()), store: tenantsIn(store) }
}

/** A record is the tenant's words, and how far its removal is. */
type TenantRecord = Tenant & { readonly removing?: { readonly purge: boolean } | undefined }

function tenantsIn(store: Store): TenantStore {
  const { tenants } = store.catalog
  return {
    list: () =>
      tenants.all().map((record): StoredTenant => {
        const { name, ids, labels, locality, removing }: TenantRecord = record
        return { tenant: { name, ids, labels, locality: locality ?? undefined }, removing }
      }),
    put: ({ tenant, removing }) => {
      const record: TenantRecord = { ...tenant, removing }
      tenants.put(record)
    },
    delete: (name) => void tenants.remove(name),
  }
}

function withoutGrants(close: () => void): Broker & SeatBroker {
  const nothing: Reconciliation = { restored: 0, revoked: 0, failed: 0, actions: [] }
  return {
    configure: async () => nothing,
    addTenant: async () => nothing,
    removeTenant: async () => undefined,
    describeTenant: () => undefined,
    serveAdmin: async () => undefined,
    close: async () => close(),
  }
}
