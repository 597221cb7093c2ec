/** The broker as the daemon of many tenants holds it, and the tenants that its state remembers. */
import path from 'node:path'
import { DATABASE, openBroker } from '../broker/index.ts'
import type { Broker } from '../broker/ports.ts'
import { Store } from '../broker/store/index.ts'
import type { Tenant } from '../broker/types.ts'
import type { ServeConfiguration } from '../config/served.ts'
import type { Logger } from '../telemetry/log.ts'
import type { StoredTenant, TenantStore } from '../tenants/store.ts'

export interface TenantBroker {
  readonly broker: Broker
  readonly store: TenantStore
  close(): Promise<void>
}

/** `state` and `runtime` exist. */
export async function openTenantBroker(
  { state, runtime }: Pick<ServeConfiguration, 'state' | 'runtime'>,
  log: Logger,
): Promise<TenantBroker> {
  const broker = await openBroker({ stateDirectory: state, runtimeDirectory: runtime, log })
  // A connection of its own: tenants are put down before the broker hears of them.
  const store = new Store(path.join(state, DATABASE))
  return {
    broker,
    store: tenantsIn(store),
    close: async () => {
      store.close()
      await broker.close()
    },
  }
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
