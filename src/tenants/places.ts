/** Where a tenant's things are. */
import path from 'node:path'
import { tenantEndpoint } from '../config/paths.ts'

export interface TenantPlaces {
  /** What the mount serves. */
  readonly home: string
  /** Made by us, and changed through the mount alone. */
  readonly ownHome: boolean
  readonly mountPoint: string
  /** Its programs and results. */
  readonly compute: string
  /** For the results of single requests. */
  readonly scratch: string
  /** Of what it has inside containers. */
  readonly containers: string
  /** Bind-mounted into its containers. */
  readonly endpoint: string
  /** Everything of the tenant in the state directory. */
  readonly state: string
  /** Everything of it in the runtime directory but the endpoint. */
  readonly runtime: string
}

export interface Directories {
  readonly state: string
  readonly runtime: string
}

/** `home` and `mountPoint` as the operator chose them; undefined for ours. */
export function tenantPlaces(
  { state: root, runtime: run }: Directories,
  name: string,
  chosen: { readonly home: string | undefined; readonly mountPoint: string | undefined },
): TenantPlaces {
  const state = path.join(root, 'tenants', name)
  const runtime = path.join(run, 'homes', name)
  return {
    home: chosen.home ?? path.join(state, 'home'),
    ownHome: chosen.home === undefined,
    mountPoint: chosen.mountPoint ?? runtime,
    compute: path.join(state, 'compute'),
    scratch: path.join(state, 'scratch'),
    containers: path.join(state, 'containers'),
    endpoint: tenantEndpoint(run, name),
    state,
    runtime,
  }
}
