/** What the parts of the broker share. */
import type { Logger } from '../telemetry/log.ts'
import type { Turns } from '../turns.ts'
import { BrokerError } from './broker-error.ts'
import type { Events } from './events.ts'
import type { GrantTable } from './grant-table.ts'
import type { Policies } from './policies.ts'
import type { HolderLooks } from './holders.ts'
import type { InsideChange, TenantMount } from './ports.ts'
import type { Images } from './storage/images.ts'
import type { Actor, AuditEntry } from './store/audit.ts'
import type { Store } from './store/index.ts'
import type { Tenant } from './types.ts'
import type { Volumes } from './volumes.ts'

export interface ServedTenant {
  readonly tenant: Tenant
  readonly mount: TenantMount
}

export interface Context {
  readonly store: Store
  readonly table: GrantTable
  readonly volumes: Volumes
  /** What makes, copies or removes a volume of a name. */
  readonly volumeTurns: Turns<string>
  readonly images: Images
  /** Where snapshots of directories lie unless they have to lie elsewhere. */
  readonly snapshotFolder: string
  readonly policies: Policies
  readonly events: Events
  readonly holderLooks: HolderLooks
  readonly log: Logger
  /** Those whose mount answers. */
  readonly tenants: Map<string, ServedTenant>
  /** Expiry of a grant was set or dropped. */
  readonly onTerms: (id: string, expiresAtMs: number | undefined) => void
  /** A grant inside a container is there no more. */
  readonly onInside: (id: string, change: InsideChange) => void
}

/** The daemon itself. */
export const NOBODY: Actor = { uid: undefined, pid: undefined, container: undefined }

export function served({ tenants }: Context, name: string): ServedTenant {
  const tenant = tenants.get(name)
  if (tenant === undefined) throw new BrokerError('not-ready', `"${name}" is not served now`)
  return tenant
}

/** For what was done already and cannot be undone: a record that cannot be written is logged. */
export function record({ store, log }: Context, entry: AuditEntry): void {
  try {
    store.audit.append(entry, Date.now())
  } catch (error) {
    log.error({ err: error, entry }, 'the audit could not be written')
  }
}
