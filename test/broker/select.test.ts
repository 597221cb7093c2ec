/** select(): a volume that does, the best of them, always the same one, and why not the others. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decide, visible } from '../../src/broker/policy.ts'
import { select, type Choice } from '../../src/broker/select.ts'
import type { Policy } from '../../src/broker/types.ts'
import * as any from '../support/broker-arbitraries.ts'

const test = suite('selection')
console.log(`seed ${any.seed}`)
const options = { seed: any.seed, numRuns: 3_000 }

const choice: fc.Arbitrary<Choice> = fc.record({
  tenant: any.tenant,
  request: any.request,
  candidates: fc.uniqueArray(fc.record({ volume: any.volume, state: any.state }), {
    selector: ({ volume }) => volume.name,
    maxLength: 3,
  }),
  policies: any.policies,
  used: any.used,
  nowMs: fc.nat(),
})

test('chooses only what policy allows and what is as described', () => {
  fc.assert(
    fc.property(choice, (asked) => {
      const { request, tenant, policies, used, nowMs } = asked
      const selection = select(asked)
      if (selection.chosen === undefined) {
        assert.ok(selection.refusal.code.length > 0 && selection.refusal.reason.length > 0)
        return
      }
      const { chosen: volume } = selection
      assert.ok(decide({ tenant, volume, request, policies, used, nowMs }).allowed)
      assert.ok(request.volume === undefined || volume.name === request.volume)
      assert.ok(!volume.draining && volume.modes.includes(request.mode))
      const state = asked.candidates.find((each) => each.volume === volume)?.state
      assert.ok(state?.healthy)
      const free = (state?.freeBytes ?? 0) - (state?.reservedBytes ?? 0)
      assert.ok(Math.max(0, free) >= (request.select?.minFreeBytes ?? 0))
      const best = selection.explanations.map(({ score }) => score?.total ?? -1)
      const own = selection.explanations.find((each) => each.volume === volume.name)
      assert.is(own?.score?.total, Math.max(...best))
    }),
    options,
  )
})

test('explains every volume that the tenant may know of, and no other', () => {
  fc.assert(
    fc.property(choice, (asked) => {
      const { explanations } = select(asked)
      const known = asked.candidates
        .filter(({ volume }) => visible(asked.tenant, volume, asked.policies))
        .map(({ volume }) => volume.name)
        .filter((name) => asked.request.volume === undefined || name === asked.request.volume)
      assert.equal(
        explanations.map(({ volume }) => volume),
        known.toSorted(),
      )
      for (const { refusal, score } of explanations) {
        assert.is(refusal === undefined, score !== undefined)
        if (score === undefined) continue
        for (const part of Object.values(score) as number[]) assert.ok(part >= 0 && part <= 1)
      }
    }),
    options,
  )
})

test('is the same whatever the order of volumes and rules', () => {
  fc.assert(
    fc.property(choice, (asked) => {
      const one = select(asked)
      const other = select({
        ...asked,
        candidates: asked.candidates.toReversed(),
        policies: asked.policies.toReversed(),
      })
      assert.is(one.chosen?.name, other.chosen?.name)
      assert.equal(
        one.explanations.map(({ score }) => score),
        other.explanations.map(({ score }) => score),
      )
    }),
    options,
  )
})

const open: Policy = {
  name: 'open',
  tenants: ['*'],
  volumes: { names: ['*'], labels: {} },
  modes: ['ro', 'rw'],
  subpaths: [''],
  maxTtlMs: undefined,
  revocable: true,
  maxGrants: 100,
  maxQuotaBytes: undefined,
  compute: true,
  discoverable: true,
}

function volume(name: string, change: { locality?: string; latencyP99Us?: number } = {}) {
  return {
    name,
    kind: 'directory' as const,
    backing: `/srv/${name}`,
    class: {
      name: 'fast',
      latencyP99Us: change.latencyP99Us,
      throughputMiBps: undefined,
      durability: undefined,
      locality: change.locality,
    },
    labels: {},
    modes: ['ro', 'rw'] as const,
    draining: false,
  }
}

const state = {
  freeBytes: 500,
  totalBytes: 1_000,
  reservedBytes: 0,
  grants: 0,
  measuredP99Us: undefined as number | undefined,
  load: 0,
  healthy: true,
  readOnly: false,
  fault: undefined,
}

const request = {
  volume: undefined,
  select: { class: undefined, labels: {}, minFreeBytes: undefined },
  mode: 'rw' as const,
  subpath: '',
  ttlMs: undefined,
  quotaBytes: undefined as number | undefined,
  compute: false,
}

function choose(candidates: Choice['candidates'], change: Partial<Choice['request']> = {}) {
  return select({
    tenant: { name: 'acme', ids: { first: 1, count: 1 }, labels: {}, locality: 'east' },
    request: { ...request, ...change },
    candidates,
    policies: [open],
    used: new Map(),
    nowMs: 0,
  })
}

test('equals go by name', () => {
  const candidates = ['c', 'a', 'b'].map((name) => ({ volume: volume(name), state }))
  assert.is(choose(candidates).chosen?.name, 'a')
})

test('more room, less load, nearer, and faster than declared are each better', () => {
  const a = { volume: volume('a', { latencyP99Us: 100 }), state: { ...state, measuredP99Us: 100 } }
  const better = (change: object, of: { locality?: string } = {}) => {
    const z = volume('z', { latencyP99Us: 100, ...of })
    return choose([a, { volume: z, state: { ...a.state, ...change } }]).chosen?.name
  }
  assert.is(better({}), 'a')
  assert.is(better({ freeBytes: 501 }), 'z')
  assert.is(better({ measuredP99Us: 99 }), 'z')
  assert.is(better({}, { locality: 'east' }), 'z')
  assert.is(better({}, { locality: 'west' }), 'a')
  assert.is(better({ load: 1 }), 'a')
})

test('what is reserved is not free, and a quota is room that is taken', () => {
  const reserved = { ...state, reservedBytes: 450 }
  const tight = [{ volume: volume('a'), state: reserved }]
  assert.is(choose(tight, { quotaBytes: 50 }).chosen?.name, 'a')
  const refused = choose(tight, { quotaBytes: 51 })
  assert.is(refused.chosen, undefined)
  assert.is(refused.explanations[0]?.refusal?.code, 'not-enough-space')
})

test('what takes no writes now is not given for writing', () => {
  const stuck = { volume: volume('a'), state: { ...state, readOnly: true } }
  assert.is(choose([stuck]).explanations[0]?.refusal?.code, 'unhealthy')
  assert.is(choose([stuck], { mode: 'ro' }).chosen?.name, 'a')
})

test.run()
