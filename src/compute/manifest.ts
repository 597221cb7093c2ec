/** What is known of a stored set besides its bytes: a JSON file beside them. */
import { createHash } from 'node:crypto'
import type { InputIdentity, Principal, PublishedResult } from '../file-server/types.ts'
import type { RunLimits } from '../sandbox/types.ts'

export interface Manifest {
  readonly key: string
  readonly version: number
  /** sha256 of the program. */
  readonly program: string
  readonly principal: Principal
  readonly runtime: string
  readonly limits: RunLimits
  /** Bytes written before the last boot may never have reached the disk. */
  readonly bootId: string
  readonly mtimeNs: bigint
  readonly mode: number
  readonly cpuMs: number
  readonly results: readonly PublishedResult[]
  readonly inputs: readonly InputIdentity[]
}

/** A result's name has no leading dot, so this one is free. */
export const MANIFEST_NAME = '.manifest.json'

const FORMAT = 1

/** JSON has no 64-bit integers: they are decimal strings. An input is a row, as there may be many. */
export function encodeManifest(manifest: Manifest): string {
  return JSON.stringify({
    format: FORMAT,
    ...manifest,
    mtimeNs: String(manifest.mtimeNs),
    inputs: manifest.inputs.map((input) => [
      input.path,
      input.kind,
      ...NUMBERS.map((name) => String(input[name])),
    ]),
  })
}

const NUMBERS = ['dev', 'ino', 'birthNs', 'sizeBytes', 'mtimeNs', 'ctimeNs'] as const

/** Undefined for what this version cannot read, and for what a loss of power left half written. */
export function decodeManifest(text: string): Manifest | undefined {
  try {
    const value = JSON.parse(text) as Omit<Manifest, 'mtimeNs' | 'inputs'> & {
      format: number
      mtimeNs: string
      inputs: string[][]
    }
    if (value.format !== FORMAT || !Array.isArray(value.results)) return undefined
    return { ...value, mtimeNs: BigInt(value.mtimeNs), inputs: value.inputs.map(decodeInput) }
  } catch {
    return undefined
  }
}

function decodeInput(row: readonly string[]): InputIdentity {
  const [path, kind, ...numbers] = row
  const [dev, ino, birthNs, sizeBytes, mtimeNs, ctimeNs] = numbers.map(BigInt)
  if (path === undefined || kind === undefined || ctimeNs === undefined)
    throw new Error('a row of the manifest is too short')
  return {
    path,
    kind: kind as InputIdentity['kind'],
    dev: dev ?? 0n,
    ino: ino ?? 0n,
    birthNs: birthNs ?? 0n,
    sizeBytes: sizeBytes ?? 0n,
    mtimeNs: mtimeNs ?? 0n,
    ctimeNs,
  }
}

/** Count and digest: equal for two sets exactly if they were computed from the same inputs. */
export function describeInputs(inputs: readonly InputIdentity[]): string {
  const hash = createHash('sha256')
  for (const input of inputs)
    hash.update(
      `${input.kind}\0${input.path}\0${input.dev}\0${input.ino}\0${input.birthNs}\0${input.sizeBytes}\0${input.mtimeNs}\0${input.ctimeNs}\0`,
    )
  return `${inputs.length} sha256:${hash.digest('hex')}`
}
