/** What the broker needs of a tenant's server. It knows no file server and no compute: whoever serves
 * a tenant gives it these, and tests give it fakes. */
import type { Compute } from '../compute/types.ts'
import type { DirectoryKey, Principal } from '../file-server/types.ts'
import type { ContainerPlace, Policy, Tenant, Volume } from './types.ts'

/** The tree of a grant. No link is followed below `backing`, which a tenant may be able to write. */
export interface GraftSource {
  /** Absolute path of the volume's tree. */
  readonly backing: string
  /** Below it, '' is all of it; grammar of `checkSubpath`. */
  readonly subpath: string
}

export interface TenantGraftOptions {
  readonly readOnly: boolean
  readonly revocable: boolean
  readonly quotaBytes: number | undefined
  /** May programs be attached and run in it? Results never go to the backing. */
  readonly compute: boolean
}

export interface TenantGraft {
  readonly graft: number
  /** Relative to the mount that it is in: the tenant's, or one of a container's own. */
  readonly at: string
  /** Of that mount. */
  readonly deviceMinor: number
  /** Files and directories open or mapped in it; those of grafts inside it do not count. */
  readonly openHandles: number
}

export interface TenantUsage {
  readonly graft: number
  readonly usedBytes: number
}

export interface TenantLatencies {
  readonly graft: number
  /** Operations since it was grafted, by how long they took: buckets of `latencies.ts`. */
  readonly counts: Float64Array
}

/**
 * One tenant's mount, as long as it is mounted. Failures are VfsError: ENOENT or ENOTDIR (no such
 * subpath, or the way to the point is no directory), ELOOP (a link in the subpath or on the way to the
 * point), ENOTEMPTY (something is there), EEXIST (a graft stands there), EINVAL (overlaps with another
 * tree), EROFS (its point would lie in a read-only tree), EBUSY (not revocable and open), ESTALE or
 * ENOTCONN (the mount is gone), ENOTSUP (the file server has no grafts).
 */
export interface TenantMount {
  /** In the daemon's mount namespace. */
  readonly mountPoint: string
  /** Minor number of the mount's device (major 0), as in `/proc/PID/mountinfo` and `maps`. */
  readonly deviceMinor: number
  /**
   * `at` is relative to the mount and may lie in another graft; directories on the way are made as
   * needed, for the tenant. Resolves with the graft's number, once it stands.
   */
  graft(at: string, source: GraftSource, options: TenantGraftOptions): Promise<number>
  /** Resolves once the kernel shows it, whatever was at its point before. */
  shown(graft: number): Promise<void>
  /**
   * The grant inside a running container, on a connection of its own. Resolves with a number, as of a
   * graft, once a walk of the target in there ends in it. Also ESRCH (the container ended) and
   * EADDRNOTAVAIL (the target cannot be; the message says why).
   */
  inject(
    place: ContainerPlace,
    source: GraftSource,
    options: TenantGraftOptions,
    onChange: (change: InsideChange) => void,
  ): Promise<number>
  /** Takes away what an earlier daemon left there, if it is dead. Never rejects. */
  clear(place: ContainerPlace): Promise<void>
  /** Which of those inside containers are not seen at their target any more, and why. */
  drifted(): Promise<ReadonlyMap<number, string>>
  /** With what is nested in it. Resolves when nothing of it can be reached any more; ENOENT: no such. */
  revoke(graft: number): Promise<void>
  grafts(): readonly TenantGraft[]
  /** In that graft and in those that stand in it, files and directories that are open or mapped. */
  openHandles(graft: number): number
  /** Of grafts with a quota. */
  usage(): readonly TenantUsage[]
  /** Of grafts with operations; what the kernel serves by itself is not seen here. */
  latencies(): readonly TenantLatencies[]
  /**
   * What changes something in a graft waits from now on, for so long at most; resolves once nothing of that
   * is under way, false if that was not in time. Pages that are mapped, and files that the kernel serves by
   * itself, are not held.
   */
  holdWrites(graft: number, longestMs: number): Promise<boolean>
  letWrite(graft: number): void
}

/** `ended`: there is no such container any more. `lost`: it can be put in again. */
export interface InsideChange {
  readonly kind: 'ended' | 'lost'
  readonly why: string
}

/** For `POST /compute`: directories are named by their path in the tenant's mount. */
export interface TenantCompute extends Pick<Compute, 'evaluate'> {
  /** VfsError: ENOENT, ENOTDIR, ELOOP, EACCES (the principal may not come to it by that path), ENOTSUP (in a
   * grant without that right). */
  keyOf(path: string, principal: Principal): Promise<DirectoryKey>
  /** A fresh folder for the results of one request is made in it, and removed. */
  readonly scratchDirectory: string
}

/** What the admin API does to tenants: whoever serves them implements it. */
export interface TenantAdministration {
  list(): readonly TenantReport[]
  /** EEXIST, EINVAL as VfsError. Resolves once the mount and the endpoint answer. */
  add(tenant: Tenant): Promise<TenantReport>
  /** ENOENT, and EBUSY for one that the configuration file holds, as VfsError. */
  remove(name: string, options: { readonly purge: boolean }): Promise<void>
}

export interface TenantReport extends Tenant {
  readonly state: 'starting' | 'serving' | 'failed'
  readonly mountPoint: string
  /** Of the directory that is bind-mounted into its containers. */
  readonly endpoint: string
  readonly error: string | undefined
  /** For how long the kernel has waited for a directory that one of the tenant's processes holds, to be told
   * what changed in its mount. */
  readonly noticeMs: number
}

/** From the configuration file; what was made through the API stands beside it. */
export interface BrokerConfiguration {
  readonly volumes: readonly Volume[]
  readonly policies: readonly Policy[]
}

/** The volume plugin of a container engine, for root alone. */
export interface PluginEndpoint {
  readonly socket: string
  /** Whose volumes they are that do not say; undefined: they have to. */
  readonly tenant: string | undefined
}

/** HTTPS with mutual TLS, for the tenants' API. */
export interface HttpsEndpoint {
  /** Address and port; 0 is any. */
  readonly listen: readonly [host: string, port: number]
  /** DNS names and addresses of the server's certificate, beside those of the loopback. */
  readonly names: readonly string[]
}

/** What was done so that mounts and table agree; one sentence each in `actions`. */
export interface Reconciliation {
  readonly restored: number
  readonly revoked: number
  /** Not there now (a backing that is away): kept, tried again. */
  readonly failed: number
  readonly actions: readonly string[]
}

/** What the daemon holds: `openBroker` of `index.ts` makes it. */
export interface Broker {
  /** Replaces what came before; grants that are no longer allowed are revoked. */
  configure(configuration: BrokerConfiguration): Promise<Reconciliation>
  /** Once its mount answers. Resolves when its grants are back and its endpoint listens. */
  addTenant(
    tenant: Tenant,
    mount: TenantMount,
    compute: TenantCompute | undefined,
  ): Promise<Reconciliation>
  /** Labels or locality of one that was added are others now; grants stay as they are. */
  describeTenant(tenant: Tenant): void
  /** Ends the endpoint. `forget`: revokes its grants and drops them; else they come back with it. */
  removeTenant(name: string, options: { readonly forget: boolean }): Promise<void>
  /** Where grants of that tenant stand that are not in its mount now. */
  absent(name: string): readonly string[]
  /** Drops the grants of all tenants that are not among these. */
  forgetOthers(names: ReadonlySet<string>): Promise<void>
  /** The admin socket. */
  serveAdmin(administration: TenantAdministration): Promise<void>
  /** The socket of the volume plugin; once tenants are served. */
  servePlugin(endpoint: PluginEndpoint): Promise<void>
  /** Resolves with the port. */
  serveHttps(endpoint: HttpsEndpoint): Promise<number>
  /** Ends endpoints; what is mounted stays until its server goes. */
  close(): Promise<void>
}
