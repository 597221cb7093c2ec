/** `insitu.yaml` as the daemon uses it. */
import type { HttpsEndpoint, PluginEndpoint } from '../broker/ports.ts'
import type { Policy, Tenant, Volume } from '../broker/types.ts'
import type { RunLimits } from '../sandbox/types.ts'
import type { ComputeLimits } from './limits.ts'

export interface DeclaredTenant extends Tenant {
  /** An existing directory; undefined: one of ours. */
  readonly home: string | undefined
  /** undefined: one of ours. */
  readonly mountPoint: string | undefined
  /** Of the sandbox's workers, beside those of other tenants. */
  readonly share: number
  readonly limits: RunLimits
  readonly bounds: ComputeLimits
}

export interface ServeConfiguration {
  readonly state: string
  readonly runtime: string
  /** Of the sandbox, for all tenants. */
  readonly workers: number
  /** Of each mount. */
  readonly threads: number
  /** Of tenants that the API makes. */
  readonly limits: RunLimits
  readonly bounds: ComputeLimits
  /** undefined: none is served. */
  readonly plugin: PluginEndpoint | undefined
  /** undefined: none is served. */
  readonly https: HttpsEndpoint | undefined
  readonly tenants: readonly DeclaredTenant[]
  readonly volumes: readonly Volume[]
  readonly policies: readonly Policy[]
}

/** One mistake in the file; line and column count from 1. */
export interface Mistake {
  readonly line: number
  readonly column: number
  /** As `tenants.acme.ids`; '' is the file itself. */
  readonly key: string
  /** Begins in lower case, says what is wrong and what to write. */
  readonly message: string
}
