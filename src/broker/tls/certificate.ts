/**
 * X.509 certificates of the three kinds that are needed here (RFC 5280), signed with ECDSA over P-256.
 * Written by hand since the profile is fixed and nothing is ever parsed: libraries for this bring
 * twenty packages into a daemon of root.
 */
import { createHash, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { isIPv4, isIPv6 } from 'node:net'
import * as der from './der.ts'

export interface CertificateRequest {
  readonly kind: 'authority' | 'server' | 'client'
  readonly subject: string
  readonly issuer: string
  readonly publicKey: KeyObject
  readonly issuerKey: KeyObject
  readonly serial: Uint8Array
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** DNS names and addresses, of a server. */
  readonly names?: readonly string[]
}

const ECDSA_SHA256 = der.sequence(der.identifier('1.2.840.10045.4.3.2'))
const COMMON_NAME = der.identifier('2.5.4.3')
const USES = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
} as const

export function makeKeyPair(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

/** As PEM. */
export function makeCertificate(request: CertificateRequest): string {
  const body = der.sequence(
    der.explicit(0, der.integer(Buffer.from([2]))), // version 3
    der.integer(request.serial),
    ECDSA_SHA256,
    nameOf(request.issuer),
    der.sequence(der.time(request.notBeforeMs), der.time(request.notAfterMs)),
    nameOf(request.subject),
    request.publicKey.export({ type: 'spki', format: 'der' }),
    der.explicit(3, der.sequence(...extensions(request))),
  )
  const signature = sign('sha256', body, request.issuerKey)
  const whole = der.sequence(body, ECDSA_SHA256, der.bits(signature)).toString('base64')
  const lines = whole.match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function nameOf(commonName: string): Buffer {
  return der.sequence(der.set(der.sequence(COMMON_NAME, der.text(commonName))))
}

function extensions({ kind, publicKey, issuerKey, names = [] }: CertificateRequest): Buffer[] {
  const critical = true
  const all = [
    extension('2.5.29.14', der.octets(keyId(publicKey))),
    extension('2.5.29.35', der.sequence(der.implicit(0, keyId(createPublicKey(issuerKey))))),
  ]
  if (kind === 'authority') {
    const noneBelow = der.integer(Buffer.from([0]))
    all.push(extension('2.5.29.19', der.sequence(der.truth(), noneBelow), critical))
    // keyCertSign and cRLSign.
    all.push(extension('2.5.29.15', der.bits(Buffer.from([0b0000_0110]), 1), critical))
    return all
  }
  all.push(extension('2.5.29.19', der.sequence(), critical))
  all.push(extension('2.5.29.15', der.bits(Buffer.from([0b1000_0000]), 7), critical))
  all.push(extension('2.5.29.37', der.sequence(der.identifier(USES[kind]))))
  if (names.length > 0) all.push(extension('2.5.29.17', der.sequence(...names.map(alternative))))
  return all
}

function extension(id: string, value: Uint8Array, critical = false): Buffer {
  const parts = [der.identifier(id), ...(critical ? [der.truth()] : []), der.octets(value)]
  return der.sequence(...parts)
}

function alternative(name: string): Buffer {
  if (isIPv4(name)) return der.implicit(7, Buffer.from(name.split('.').map(Number)))
  if (isIPv6(name) && !name.includes('.')) return der.implicit(7, addressBytes(name))
  return der.implicit(2, Buffer.from(name, 'ascii'))
}

/** Sixteen bytes of an IPv6 address without an IPv4 part. */
function addressBytes(address: string): Buffer {
  const [before = '', after] = address.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const [head, tail] = [groups(before), groups(after ?? '')]
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0')
  const all = [...head, ...zeros, ...tail].map((group) => group.padStart(4, '0'))
  return Buffer.from(all.join(''), 'hex')
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20)
}
