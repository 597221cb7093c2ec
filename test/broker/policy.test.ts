/** decide(): what no rule allows is never granted, rules only add, and every refusal has a code. */
import { volumeNamed } from '../support/broker-fixtures.ts'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decide, visible } from '../../src/broker/policy.ts'
import type { Policy, Tenant } from '../../src/broker/types.ts'
import * as any from '../support/broker-arbitraries.ts'

const test = suite('policy')
console.log(`seed ${any.seed}`)
const options = { seed: any.seed, numRuns: 3_000 }

const question = fc.record({
  tenant: any.tenant,
  volume: any.volume,
  request: any.request,
  policies: any.policies,
  used: any.used,
  nowMs: fc.nat(),
})

/** The rule's words, written down once more and differently. */
function allows(rule: Policy, asked: typeof question extends fc.Arbitrary<infer Q> ? Q : never) {
  const { tenant, volume, request, used } = asked
  const { names, labels } = rule.volumes
  const keys = Object.keys(labels)
  return [
    rule.tenants.some((name) => name === '*' || name === tenant.name),
    names.length + keys.length > 0,
    names.length === 0 || names.some((name) => name === '*' || name === volume.name),
    keys.every((key) => volume.labels[key] === labels[key]),
    rule.modes.some((mode) => mode === request.mode),
    rule.subpaths.some((above) => above === '' || `${request.subpath}/`.startsWith(`${above}/`)),
    !request.compute || rule.compute,
    (request.ttlMs ?? 0) <= (rule.maxTtlMs ?? Infinity),
    (request.quotaBytes ?? 0) <= (rule.maxQuotaBytes ?? Infinity),
    (used.get(rule.name) ?? 0) < rule.maxGrants,
  ].every(Boolean)
}

test('grants exactly what one rule allows, as far as that rule goes', () => {
  fc.assert(
    fc.property(question, (asked) => {
      const decision = decide(asked)
      const allowing = asked.policies.filter((rule) => allows(rule, asked))
      assert.is(decision.allowed, allowing.length > 0)
      if (!decision.allowed) return
      const rule = allowing.find(({ name }) => name === decision.policy)
      if (rule === undefined) throw new Error('by a rule that does not allow it')
      assert.is(decision.revocable, rule.revocable)
      const { expiresAtMs, quotaBytes } = decision
      assert.ok((expiresAtMs ?? Infinity) <= asked.nowMs + (rule.maxTtlMs ?? Infinity))
      if (asked.request.mode === 'rw')
        assert.ok((quotaBytes ?? Infinity) <= (rule.maxQuotaBytes ?? Infinity))
    }),
    options,
  )
})

test('more rules never take away, whatever their order', () => {
  fc.assert(
    fc.property(question, any.policies, (asked, more) => {
      const names = new Set(asked.policies.map(({ name }) => name))
      const added = more.filter(({ name }) => !names.has(name))
      const before = decide(asked)
      const after = decide({ ...asked, policies: [...added, ...asked.policies] })
      assert.ok(after.allowed || !before.allowed)
      if (!before.allowed || !after.allowed) return
      assert.ok((after.expiresAtMs ?? Infinity) >= (before.expiresAtMs ?? Infinity))
    }),
    options,
  )
})

test('is the same for the same question, whatever the order of the rules', () => {
  fc.assert(
    fc.property(question, (asked) => {
      const decision = decide(asked)
      const other = decide({ ...asked, policies: asked.policies.toReversed() })
      if (decision.allowed || other.allowed) assert.equal(other, decision)
      else assert.is(other.code, decision.code)
    }),
    options,
  )
})

test('every refusal has a code and a sentence; what may not be known is not there', () => {
  fc.assert(
    fc.property(question, (asked) => {
      const decision = decide(asked)
      if (decision.allowed) return
      assert.ok(decision.code.length > 0 && decision.reason.length > 0)
      const known = visible(asked.tenant, asked.volume, asked.policies)
      assert.is(decision.code === 'unknown-volume', !known)
      if (!known) assert.is(decision.reason, `there is no volume "${asked.volume.name}"`)
    }),
    options,
  )
})

const tenant: Tenant = {
  name: 'acme',
  ids: { first: 100_000, count: 10 },
  labels: {},
  locality: undefined,
}
const volume = volumeNamed('alpha', '/srv/alpha')
const rule: Policy = {
  name: 'rule',
  tenants: ['acme'],
  volumes: { names: ['alpha'], labels: {} },
  modes: ['ro'],
  subpaths: ['data'],
  maxTtlMs: 1_000,
  revocable: true,
  maxGrants: 1,
  maxQuotaBytes: 100,
  compute: false,
  discoverable: false,
}
const request = {
  mode: 'ro' as const,
  subpath: 'data',
  ttlMs: undefined,
  quotaBytes: undefined,
  compute: false,
}

test('the code says what is missing', () => {
  const ask = (change: object, of: Partial<Policy> = {}, grants: { policy: string }[] = []) => {
    const decision = decide({
      tenant,
      volume,
      request: { ...request, ...change },
      policies: [{ ...rule, ...of }],
      used: new Map(grants.map(({ policy }) => [policy, 1])),
      nowMs: 5,
    })
    return decision.allowed ? decision.expiresAtMs : decision.code
  }
  assert.is(ask({}), 1_005)
  assert.is(ask({ ttlMs: 10 }), 15)
  assert.is(ask({ mode: 'rw' }), 'mode-not-allowed')
  assert.is(ask({ subpath: 'database' }), 'subpath-not-allowed')
  assert.is(ask({ subpath: '' }), 'subpath-not-allowed')
  assert.is(ask({ subpath: 'data/below' }), 1_005)
  assert.is(ask({ ttlMs: 1_001 }), 'ttl-too-long')
  assert.is(ask({ quotaBytes: 101 }), 'quota-too-large')
  assert.is(ask({ compute: true }), 'compute-not-allowed')
  assert.is(ask({}, {}, [{ policy: 'rule' }]), 'too-many-grants')
  assert.is(ask({}, { modes: [], discoverable: true }), 'no-policy')
  assert.is(ask({}, { modes: [] }), 'unknown-volume')
  assert.is(ask({}, { tenants: ['bolt'] }), 'unknown-volume')
  assert.is(ask({}, { volumes: { names: [], labels: {} } }), 'unknown-volume')
})

test('labels are looked for in the volume itself', () => {
  const policies = [
    { ...rule, volumes: { names: [], labels: { constructor: 'x', toString: 'y' } } },
  ]
  const decision = decide({ tenant, volume, request, policies, used: new Map(), nowMs: 0 })
  assert.is(decision.allowed, false)
})

test.run()
