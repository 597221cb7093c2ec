/** Who a client certificate is, and giving them out and taking them back. */
import type { X509Certificate } from 'node:crypto'
import { BrokerError } from '../broker-error.ts'
import type { GrantBroker } from '../broker.ts'
import type { Actor } from '../store/audit.ts'
import type { StoredCertificate } from '../store/certificates.ts'
import { Authority, fingerprintOf, type Issued } from './authority.ts'

/** Of one tenant, not expired. */
const MAX_CERTIFICATES = 1_000

export class Certificates {
  readonly #broker: GrantBroker
  readonly #stateDirectory: string
  #authority: Promise<Authority> | undefined
  /** Told when a certificate is not to be used any more; without one, all of the tenant's. */
  onRevoked: (tenant: string, fingerprint: string | undefined) => void = () => undefined

  constructor(broker: GrantBroker, stateDirectory: string) {
    this.#broker = broker
    this.#stateDirectory = stateDirectory
  }

  /** Made when it is first needed. A failure is not kept. */
  authority(): Promise<Authority> {
    this.#authority ??= Authority.open(this.#stateDirectory).catch((error: unknown) => {
      this.#authority = undefined
      throw error
    })
    return this.#authority
  }

  async issue(
    tenant: string,
    lifeMs: number,
    actor: Actor,
  ): Promise<Issued & { readonly authority: string }> {
    const { store } = this.#broker
    this.#broker.tenant(tenant) // throws not-ready
    const now = Date.now()
    const valid = store.certificates.of(tenant).filter(({ expiresAtMs }) => expiresAtMs > now)
    if (valid.length >= MAX_CERTIFICATES)
      throw new BrokerError('in-use', `"${tenant}" has ${valid.length} certificates already`)
    const authority = await this.authority()
    this.#broker.tenant(tenant) // it may be gone meanwhile
    const issued = authority.client(tenant, lifeMs)
    store.certificates.insert({ ...issued, tenant, revokedAtMs: undefined })
    this.#record('certificate-issue', tenant, issued.fingerprint, actor)
    return { ...issued, authority: authority.certificate }
  }

  of(tenant: string): StoredCertificate[] {
    return this.#broker.store.certificates.of(tenant)
  }

  /** Also connections that are open with it. False: there was none to revoke. */
  revoke(tenant: string, fingerprint: string, actor: Actor): boolean {
    const { certificates } = this.#broker.store
    if (!certificates.revoke(tenant, fingerprint, Date.now())) return false
    this.#record('certificate-revoke', tenant, fingerprint, actor)
    this.onRevoked(tenant, fingerprint)
    return true
  }

  forget(tenant: string): void {
    this.#broker.store.certificates.forget(tenant)
    this.onRevoked(tenant, undefined)
  }

  /** Its tenant, or a sentence that says why it is nobody's. TLS has looked who signed it. */
  identify(certificate: X509Certificate): Identified {
    const fingerprint = fingerprintOf(certificate)
    const known = this.#broker.store.certificates.find(fingerprint)
    if (known === undefined) return { fingerprint, reason: 'this certificate is not known' }
    const { tenant, revokedAtMs, expiresAtMs } = known
    if (revokedAtMs !== undefined)
      return { fingerprint, tenant, reason: 'this certificate was revoked' }
    if (expiresAtMs <= Date.now()) return { fingerprint, tenant, reason: EXPIRED }
    return { fingerprint, tenant, expiresAtMs }
  }

  #record(
    action: 'certificate-issue' | 'certificate-revoke',
    tenant: string,
    subject: string,
    { uid, pid, container }: Actor,
  ): void {
    const actor = { uid, pid, container }
    this.#broker.record({ ...actor, action, outcome: 'done', tenant, subject, reason: undefined })
  }
}

export const EXPIRED = 'this certificate has expired'

export type Identified =
  | {
      readonly fingerprint: string
      readonly tenant: string
      readonly expiresAtMs: number
      readonly reason?: undefined
    }
  | { readonly fingerprint: string; readonly tenant?: string; readonly reason: string }
