/**
 * The daemon's own certificate authority. Its key stands in the state directory and signs two things:
 * the server's certificate, made anew at each start and kept in memory, and those of tenants, whose
 * keys are given away once and kept nowhere.
 */
import { createPrivateKey, randomBytes, X509Certificate, type KeyObject } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { makeDirectories } from '../../config/directories.ts'
import { makeCertificate, makeKeyPair } from './certificate.ts'

const AUTHORITY = 'insitu authority'
const DAY_MS = 86_400_000
const AUTHORITY_MS = 10 * 365 * DAY_MS
/** Made anew at each start, and while it runs by `SERVER_RENEWAL_MS`. */
const SERVER_MS = 90 * DAY_MS
export const SERVER_RENEWAL_MS = 7 * DAY_MS
/** Clocks differ. */
const BACKDATED_MS = 300_000

export interface Credentials {
  readonly certificate: string
  readonly key: string
}

export interface Issued extends Credentials {
  /** SHA-256 of the certificate, in lower-case hexadecimal digits: what it is known by. */
  readonly fingerprint: string
  readonly issuedAtMs: number
  readonly expiresAtMs: number
}

export class Authority {
  /** PEM. */
  readonly certificate: string
  readonly #key: KeyObject

  private constructor({ certificate, key }: Credentials) {
    this.certificate = certificate
    this.#key = createPrivateKey(key)
    if (!new X509Certificate(certificate).checkPrivateKey(this.#key))
      throw new Error('the key of the certificate authority is not that of its certificate')
  }

  /** Makes it where there is none. Both are in one file, so that one is never there without the other. */
  static async open(stateDirectory: string): Promise<Authority> {
    const directory = path.join(stateDirectory, 'tls')
    await makeDirectories(directory, 0o700)
    const file = path.join(directory, 'authority.pem')
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    if (text === undefined) {
      const made = makeAuthority()
      await writeFile(`${file}.new`, made.key + made.certificate, { mode: 0o600, flush: true })
      await rename(`${file}.new`, file)
      return new Authority(made)
    }
    const [certificate, key] = ['CERTIFICATE', 'PRIVATE KEY'].map(
      (kind) => new RegExp(`-----BEGIN ${kind}-----[^]*?-----END ${kind}-----\n`).exec(text)?.[0],
    )
    if (certificate === undefined || key === undefined)
      throw new Error(`${file} holds no certificate authority; restore it from a backup`)
    return new Authority({ certificate, key })
  }

  server(names: readonly string[]): Credentials {
    const now = Date.now()
    return this.#issue('server', 'insitu', now - BACKDATED_MS, now + SERVER_MS, names)
  }

  client(tenant: string, lifeMs: number, nowMs = Date.now()): Issued {
    const expiresAtMs = nowMs + lifeMs
    const made = this.#issue('client', tenant, nowMs - BACKDATED_MS, expiresAtMs)
    const fingerprint = fingerprintOf(new X509Certificate(made.certificate))
    return { ...made, fingerprint, issuedAtMs: nowMs, expiresAtMs }
  }

  #issue(
    kind: 'server' | 'client',
    subject: string,
    notBeforeMs: number,
    notAfterMs: number,
    names: readonly string[] = [],
  ): Credentials {
    const { publicKey, privateKey } = makeKeyPair()
    const certificate = makeCertificate({
      kind,
      subject,
      issuer: AUTHORITY,
      publicKey,
      issuerKey: this.#key,
      serial: randomBytes(16),
      notBeforeMs,
      notAfterMs,
      names,
    })
    return { certificate, key: toPem(privateKey) }
  }
}

export function fingerprintOf({ fingerprint256 }: X509Certificate): string {
  return fingerprint256.replaceAll(':', '').toLowerCase()
}

function makeAuthority(): Credentials {
  const { publicKey, privateKey } = makeKeyPair()
  const now = Date.now()
  const certificate = makeCertificate({
    kind: 'authority',
    subject: AUTHORITY,
    issuer: AUTHORITY,
    publicKey,
    issuerKey: privateKey,
    serial: randomBytes(16),
    notBeforeMs: now - BACKDATED_MS,
    notAfterMs: now + AUTHORITY_MS,
  })
  return { certificate, key: toPem(privateKey) }
}

function toPem(key: KeyObject): string {
  return String(key.export({ type: 'pkcs8', format: 'pem' }))
}
