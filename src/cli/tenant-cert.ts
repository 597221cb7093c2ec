/** `insitu tenant cert`: what a tenant's clients need for HTTPS. */
import { mkdir, open, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { adminClient, asking, columns, show } from './broker-client.ts'
import { CliError, EXIT } from './exit.ts'
import { duration, example } from './options.ts'

interface CertOptions {
  readonly out: string
  readonly ttl?: number
  readonly list?: true
  readonly revoke?: string
  readonly json?: true
}

interface Certificate {
  readonly fingerprint: string
  readonly issuedAt: string
  readonly expiresAt: string
  readonly revokedAt?: string
}

interface Issued extends Certificate {
  readonly certificate: string
  readonly key: string
  readonly authority: string
}

export function addTenantCert(tenant: Command): void {
  tenant
    .command('cert')
    .description('make a client certificate for HTTPS, list them, or revoke one')
    .argument('<name>')
    .option('--out <directory>', 'where NAME.crt, NAME.key and authority.crt are put', '.')
    .option('--ttl <duration>', 'how long it is good, as 12h (default: 90d)', duration)
    .option('--list', 'show those that were made')
    .option('--revoke <fingerprint>', 'refuse it from now on')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu tenant cert acme --out /etc/acme/tls --ttl 30d'))
    .action(async (name: string, options: CertOptions) => {
      if (options.list) return await list(name, options)
      if (options.revoke !== undefined) return await revoke(name, options.revoke)
      await issue(name, options)
    })
}

function pathOf(name: string, ...rest: string[]): string {
  return ['', 'tenants', name, 'certificates', ...rest].map(encodeURIComponent).join('/')
}

async function issue(name: string, { out, ttl, json }: CertOptions): Promise<void> {
  await mkdir(out, { recursive: true })
  const [certificateFile, keyFile] = [path.join(out, `${name}.crt`), path.join(out, `${name}.key`)]
  // Before the daemon is asked: what is there is never written over, and a key not left without a place.
  const file = await open(keyFile, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    const why =
      error.code === 'EEXIST'
        ? 'is there already: take it away, or name another directory with --out'
        : `cannot be made (${error.code ?? error.message})`
    throw new CliError(EXIT.failed, `${keyFile} ${why}`)
  })
  try {
    const body = ttl === undefined ? {} : { ttl: Math.max(1, Math.round(ttl / 1_000)) }
    const issued = await asking(() => adminClient().json<Issued>(pathOf(name), { body }))
    const { key, certificate, authority, ...told } = issued
    await file.writeFile(key)
    await writeFile(certificateFile, certificate)
    await writeFile(path.join(out, 'authority.crt'), authority)
    show(
      { ...told, certificate: certificateFile, key: keyFile },
      json,
      () => `${certificateFile} and ${keyFile} are good until ${told.expiresAt}\n`,
    )
  } catch (error) {
    await rm(keyFile, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

async function list(name: string, { json }: CertOptions): Promise<void> {
  const { certificates } = await asking(() =>
    adminClient().json<{ certificates: Certificate[] }>(pathOf(name)),
  )
  const rows = certificates.map(({ fingerprint, issuedAt, expiresAt, revokedAt }) => {
    return [fingerprint, issuedAt, expiresAt, revokedAt]
  })
  show(certificates, json, () =>
    rows.length === 0
      ? 'there are no certificates\n'
      : columns(['FINGERPRINT', 'ISSUED', 'EXPIRES', 'REVOKED'], rows),
  )
}

async function revoke(name: string, fingerprint: string): Promise<void> {
  // As openssl writes them.
  const plain = fingerprint.replaceAll(':', '').toLowerCase()
  const { revoked } = await asking(() =>
    adminClient().json<{ revoked: boolean }>(pathOf(name, plain), { method: 'DELETE' }),
  )
  if (!revoked) throw new CliError(EXIT.failed, `${name} has no such certificate to revoke`)
  process.stdout.write('it is refused from now on\n')
}
