/** What is known of volumes: latencies in buckets, and how much is reserved and not yet used. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { boundOfUs, LATENCY_BUCKETS, p99Us, RecentLatencies } from '../../src/broker/latencies.ts'
import { GrantTable, type Entry } from '../../src/broker/grant-table.ts'
import { Store } from '../../src/broker/store/index.ts'
import type { Grant } from '../../src/broker/types.ts'
import { asks, BrokerWorld } from '../support/broker-world.ts'
import { seed } from '../support/broker-arbitraries.ts'

const test = suite('measuring')
console.log(`seed ${seed}`)
const options = { seed, numRuns: 500 }

/** As the file server's: the first bucket whose bound is above. */
function bucketOf(us: number): number {
  let bucket = 0
  while (bucket < LATENCY_BUCKETS - 1 && boundOfUs(bucket) <= us) bucket += 1
  return bucket
}

function countsOf(all: readonly number[]): Float64Array {
  const counts = new Float64Array(LATENCY_BUCKETS)
  for (const us of all) counts[bucketOf(us)] = (counts[bucketOf(us)] ?? 0) + 1
  return counts
}

test('bounds grow, each by at most a quarter', () => {
  for (let i = 1; i < LATENCY_BUCKETS; i += 1) {
    assert.ok(boundOfUs(i) > boundOfUs(i - 1))
    if (i > 4) assert.ok(boundOfUs(i) <= boundOfUs(i - 1) * 1.25)
  }
  assert.ok(boundOfUs(LATENCY_BUCKETS - 1) > 120_000_000)
})

test('the p99 is no less than what 99 of 100 took, and at most a quarter above', () => {
  const some = fc.array(fc.nat({ max: 100_000_000 }), { minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(some, (all) => {
      const exact = all.toSorted((one, other) => one - other)[Math.ceil(all.length * 0.99) - 1] ?? 0
      const measured = p99Us(countsOf(all)) ?? NaN
      assert.ok(measured > exact && measured <= exact * 1.25 + 1, `${measured} for ${exact}`)
    }),
    options,
  )
  assert.is(p99Us(new Float64Array(LATENCY_BUCKETS)), undefined)
})

test('only the last minute counts', () => {
  const recent = new RecentLatencies()
  recent.add(countsOf(Array.from({ length: 100 }, () => 50_000)), 0, 5_000)
  assert.is(recent.measure().load, 20)
  const slow = recent.measure().p99Us ?? 0
  assert.ok(slow > 50_000)
  for (let ms = 5_000; ms < 70_000; ms += 5_000) recent.add(countsOf([10, 10]), ms, ms + 5_000)
  assert.ok((recent.measure().p99Us ?? 0) < 20)
  assert.ok(Math.abs(recent.measure().load - 0.4) < 0.01)
})

test('grants of several tenants count for their volume, once', async () => {
  const world = await BrokerWorld.create()
  try {
    const bolt = await world.tenant('bolt', 200_000)
    await world.broker.mount('acme', asks('one'), world.by)
    await world.broker.mount('bolt', asks('two'), world.by)
    await world.broker.mount('bolt', asks('other', { volume: 'logs' }), world.by)
    const graftOf = (mount: typeof bolt, at: string) => mount.at(at)?.graft ?? NaN
    world.acme.counted.set(graftOf(world.acme, 'one'), countsOf([100, 100]))
    bolt.counted.set(graftOf(bolt, 'two'), countsOf([100]))
    await world.broker.look()
    const state = (name: string) =>
      world.broker.volumes().find(({ volume }) => volume.name === name)?.state
    assert.is(state('data')?.measuredP99Us, boundOfUs(bucketOf(100)))
    assert.ok((state('data')?.load ?? 0) > 0)
    assert.is(state('logs')?.measuredP99Us, undefined)
    const before = state('data')?.load ?? 0
    await new Promise((resolve) => setTimeout(resolve, 20))
    await world.broker.look() // nothing since
    assert.ok((state('data')?.load ?? 0) < before)
  } finally {
    world.close()
  }
})

type Step =
  | { readonly do: 'grant'; readonly bytes: number }
  | { readonly do: 'write' | 'delete'; readonly who: number; readonly bytes: number }
  | { readonly do: 'end'; readonly who: number }
  | { readonly do: 'sample' | 'statfs' | 'settle' }

const bytes = fc.integer({ min: 1, max: 300 })
const who = fc.nat({ max: 5 })
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('grant' as const), bytes }),
  fc.record({ do: fc.constantFrom('write' as const, 'delete' as const), who, bytes }),
  fc.record({ do: fc.constant('end' as const), who }),
  fc.record({ do: fc.constantFrom('sample' as const, 'statfs' as const, 'settle' as const) }),
)

/** A disk of 1,000 bytes, its grants, and a look at them in three parts, as `Volumes` has it. */
class Disk {
  readonly #store = new Store(':memory:')
  readonly table = new GrantTable(this.#store.grants)
  readonly grants: { entry: Entry; used: number; quota: number }[] = []
  free = 1_000
  #seenFree = 1_000
  #sampled: (readonly [Entry, number])[] | undefined
  #looked: number | undefined
  #ended = 0
  /** Deleted between the first and the second part: cannot be known, and is at most that much off. */
  #freed = 0
  slack = 0
  #last = 0

  get believed(): number {
    return this.#seenFree - this.table.placedOn('data').reservedBytes
  }

  get actual(): number {
    return this.grants.reduce((left, { quota, used }) => left - (quota - used), this.free)
  }

  do(step: Step): void {
    const grant = 'who' in step ? this.grants[step.who % (this.grants.length || 1)] : undefined
    if (step.do === 'grant') this.#grant(step.bytes)
    else if (step.do === 'sample') {
      this.#sampled = this.grants.map(({ entry, used }) => [entry, used])
      this.#ended = this.table.endedOn('data')
      this.#looked = undefined
      this.#freed = 0
    } else if (step.do === 'statfs') {
      if (this.#sampled !== undefined) this.#looked = this.free
    } else if (step.do === 'settle') this.#settle()
    else if (grant !== undefined && step.do === 'end') {
      this.table.remove(grant.entry)
      this.grants.splice(this.grants.indexOf(grant), 1)
    } else if (grant !== undefined && 'bytes' in step) {
      const sign = step.do === 'write' ? 1 : -1
      const most = sign === 1 ? grant.quota - grant.used : grant.used
      const changed = Math.min(step.bytes, most)
      grant.used += sign * changed
      this.free -= sign * changed
      if (sign === -1 && this.#looked === undefined) this.#freed += changed
    }
  }

  #grant(quota: number): void {
    if (this.believed < quota) return
    const entry = this.table.insert({
      grant: grantNamed(`g${(this.#last += 1)}`, quota),
      state: 'active',
      requestKey: undefined,
    })
    this.grants.push({ entry, used: 0, quota })
  }

  #settle(): void {
    if (this.#sampled === undefined || this.#looked === undefined) return
    for (const [entry, used] of this.#sampled) this.table.setUsed(entry, used)
    this.table.settleEnded('data', this.#ended)
    this.#seenFree = this.#looked
    this.slack = this.#freed
    this.#sampled = this.#looked = undefined
  }
}

function grantNamed(id: string, quotaBytes: number): Grant {
  return {
    ...{ id, tenant: 'acme', volume: 'data', policy: 'all', at: id, mode: 'rw', subpath: '' },
    ...{ compute: false, revocable: true, quotaBytes, createdAtMs: 0, expiresAtMs: undefined },
  }
}

test('never is more believed to be there than is, when all who may write have written', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const disk = new Disk()
      for (const each of steps) {
        disk.do(each)
        assert.ok(disk.free >= 0, 'a quota that was promised was not there')
        assert.ok(disk.believed <= disk.actual + disk.slack, `${disk.believed} > ${disk.actual}`)
      }
      for (const each of ['sample', 'statfs', 'settle'] as const) disk.do({ do: each })
      assert.is(disk.believed, disk.actual) // used bytes count once
    }),
    options,
  )
})

test.run()
