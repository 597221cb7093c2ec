/** Random tenants, volumes, policies and requests, of few enough names that they meet. */
import fc from 'fast-check'
import type {
  AccessMode,
  MountRequest,
  Policy,
  Tenant,
  Volume,
  VolumeState,
} from '../../src/broker/types.ts'

const labels = fc.dictionary(fc.constantFrom('kind', 'zone'), fc.constantFrom('a', 'b'), {
  noNullPrototype: true,
})
const modes = fc.subarray<AccessMode>(['ro', 'rw'])
const subpath = fc.constantFrom('', 'a', 'a/b', 'ab', 'c')
const bound = (max: number) => fc.option(fc.nat({ max }), { nil: undefined })

export const tenant: fc.Arbitrary<Tenant> = fc.record({
  name: fc.constantFrom('acme', 'bolt', 'core'),
  ids: fc.constant({ first: 100_000, count: 1_000 }),
  labels: fc.constant({}),
  locality: fc.option(fc.constantFrom('east', 'west'), { nil: undefined }),
})

export const volume: fc.Arbitrary<Volume> = fc.record({
  name: fc.constantFrom('alpha', 'beta', 'gamma'),
  kind: fc.constant('directory' as const),
  backing: fc.constant('/srv/volume'),
  class: fc.record({
    name: fc.constantFrom('fast', 'slow'),
    latencyP99Us: bound(2_000),
    throughputMiBps: fc.constant(undefined),
    durability: fc.constant(undefined),
    locality: fc.option(fc.constantFrom('east', 'west'), { nil: undefined }),
  }),
  labels,
  modes,
  draining: fc.boolean(),
})

export const state: fc.Arbitrary<VolumeState> = fc.record({
  freeBytes: fc.nat({ max: 1_000 }),
  totalBytes: fc.constant(1_000),
  reservedBytes: fc.nat({ max: 500 }),
  grants: fc.nat({ max: 10 }),
  measuredP99Us: bound(4_000),
  load: fc.nat({ max: 5_000 }),
  healthy: fc.boolean(),
  readOnly: fc.boolean(),
  fault: fc.constant(undefined),
})

export const policy: fc.Arbitrary<Policy> = fc.record({
  name: fc.string({ unit: fc.constantFrom('p', 'q', 'r'), minLength: 3, maxLength: 3 }),
  tenants: fc.subarray(['acme', 'bolt', '*']),
  volumes: fc.record({ names: fc.subarray(['alpha', 'beta', '*']), labels }),
  modes,
  subpaths: fc.uniqueArray(subpath),
  maxTtlMs: bound(1_000),
  revocable: fc.boolean(),
  maxGrants: fc.nat({ max: 3 }),
  maxQuotaBytes: bound(1_000),
  compute: fc.boolean(),
  discoverable: fc.boolean(),
})

export const policies = fc.uniqueArray(policy, { selector: ({ name }) => name, maxLength: 6 })

export const request: fc.Arbitrary<Omit<MountRequest, 'at'>> = fc
  .record({
    volume: fc.option(fc.constantFrom('alpha', 'beta', 'delta'), { nil: undefined }),
    wanted: fc.record({
      class: fc.option(fc.constantFrom('fast', 'slow'), { nil: undefined }),
      labels,
      minFreeBytes: bound(1_000),
    }),
    mode: fc.constantFrom<AccessMode>('ro', 'rw'),
    subpath,
    ttlMs: bound(1_500),
    quotaBytes: bound(1_500),
    compute: fc.boolean(),
  })
  .map(({ wanted, ...rest }) => ({
    ...rest,
    select: rest.volume === undefined ? wanted : undefined,
  }))

export const used = fc
  .dictionary(fc.constantFrom('ppp', 'pqr', 'qqq'), fc.nat({ max: 4 }))
  .map((counts) => new Map(Object.entries(counts)))

/** Printed, so that a failure can be repeated: INSITU_SEED. */
export const seed = Number(process.env['INSITU_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
