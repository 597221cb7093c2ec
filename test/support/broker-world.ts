/** A broker over a fresh database, with fake mounts: tenants acme and bolt, volumes data and logs. */
import { volumeNamed } from './broker-fixtures.ts'
import { mkdtempSync, mkdirSync, rmSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { GrantBroker } from '../../src/broker/broker.ts'
import { BrokerError } from '../../src/broker/broker-error.ts'
import type { MountRequest, Policy, Tenant, Volume } from '../../src/broker/types.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { FakeMount } from './fake-mount.ts'

export const nobody = { uid: undefined, pid: undefined, container: undefined }
export const silent = createLog({ level: 'silent', human: false, fd: 2 })

export function tenantNamed(name: string, first = 100_000): Tenant {
  return { name, ids: { first, count: 1_000 }, labels: {}, locality: undefined }
}

export function policyNamed(name: string, change: Partial<Policy> = {}): Policy {
  return {
    name,
    tenants: ['*'],
    volumes: { names: ['*'], labels: {} },
    modes: ['ro', 'rw'],
    subpaths: [''],
    maxTtlMs: undefined,
    revocable: true,
    maxGrants: 100_000,
    maxQuotaBytes: undefined,
    compute: true,
    discoverable: false,
    ...change,
  }
}

export function asks(at: string, change: Partial<MountRequest> = {}): MountRequest {
  return {
    volume: 'data',
    select: undefined,
    at,
    mode: 'ro',
    subpath: '',
    ttlMs: undefined,
    quotaBytes: undefined,
    compute: false,
    ...change,
  }
}

export class BrokerWorld {
  readonly scratch = mkdtempSync(path.join(tmpdir(), 'insitu-broker-'))
  readonly file = path.join(this.scratch, 'broker.db')
  readonly by = { actor: nobody, key: undefined }
  broker = this.#open()
  mounts = new Map<string, FakeMount>()

  /** Path and state of grants, as a daemon that dies now leaves them. */
  written(): unknown[][] {
    const database = new DatabaseSync(this.file, { readOnly: true })
    try {
      return database.prepare('SELECT at, state FROM grants').all().map(Object.values)
    } finally {
      database.close()
    }
  }

  #open(): GrantBroker {
    const directories = { state: this.scratch, runtime: path.join(this.scratch, 'run') }
    return new GrantBroker({ file: this.file, directories, log: silent })
  }

  volume(name: string, change: Partial<Volume> = {}): Volume {
    const backing = path.join(this.scratch, name)
    mkdirSync(backing, { recursive: true })
    return volumeNamed(name, backing, change)
  }

  async configure(policies = [policyNamed('all')], names = ['data', 'logs']) {
    return await this.broker.configure({
      volumes: names.map((name) => this.volume(name)),
      policies,
    })
  }

  async tenant(name: string, first?: number): Promise<FakeMount> {
    const mount = new FakeMount()
    this.mounts.set(name, mount)
    await this.broker.addTenant(tenantNamed(name, first), mount)
    return mount
  }

  static async create(): Promise<BrokerWorld> {
    const world = new BrokerWorld()
    await world.configure()
    await world.tenant('acme')
    return world
  }

  get acme(): FakeMount {
    const mount = this.mounts.get('acme')
    if (mount === undefined) throw new Error('acme is not served')
    return mount
  }

  /** As after the daemon was killed: nothing is told to anybody, and mounts are fresh. */
  async restart(policies?: Policy[]) {
    this.broker.close()
    this.reopen()
    await this.configure(policies)
    const mount = new FakeMount()
    this.mounts.set('acme', mount)
    return await this.broker.addTenant(tenantNamed('acme'), mount)
  }

  reopen(): void {
    this.broker = this.#open()
  }

  close(): void {
    this.broker.close()
    rmSync(this.scratch, { recursive: true, force: true })
  }
}

/** The code of the refusal. */
export async function refusal(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt
  } catch (error) {
    if (error instanceof BrokerError) return error.code
    throw error
  }
  return 'none'
}
