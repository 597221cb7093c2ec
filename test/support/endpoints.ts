/** A broker with its endpoints on real sockets, fake mounts below: tenants acme and bolt. */
import { volumeNamed } from './broker-fixtures.ts'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { openBroker } from '../../src/broker/index.ts'
import type { Broker, TenantCompute, TenantReport } from '../../src/broker/ports.ts'
import type { Policy, Tenant, Volume } from '../../src/broker/types.ts'
import { VfsError } from '../../src/errors.ts'
import { policyNamed, silent, tenantNamed } from './broker-world.ts'
import { FakeMount } from './fake-mount.ts'

export const ACME = 100_000
export const BOLT = 200_000
export const OTHER = 65_000

export class Endpoints implements AsyncDisposable {
  // Not below a folder that other users cannot pass through.
  readonly scratch = mkdtempSync('/tmp/insitu-api-')
  readonly admin = path.join(this.scratch, 'run', 'admin.sock')
  readonly mounts = new Map<string, FakeMount>()
  readonly tenants = new Map<string, Tenant>()
  /** Set by whoever wants to see programs run. */
  evaluate: TenantCompute['evaluate'] = async (_, source, principal, { folder }) => {
    writeFileSync(
      path.join(folder, 'result'),
      `${principal.uid} ran ${Buffer.from(source).toString()}`,
    )
    return { results: [{ name: 'result', sizeBytes: 1 }], usage: {} as never }
  }
  #broker: Broker | undefined

  static async create(policies: Policy[] = [policyNamed('all')]): Promise<Endpoints> {
    const endpoints = new Endpoints()
    chmodSync(endpoints.scratch, 0o755)
    for (const folder of ['run', 'state', 'spool']) mkdirSync(path.join(endpoints.scratch, folder))
    await endpoints.start(policies)
    return endpoints
  }

  get broker(): Broker {
    if (this.#broker === undefined) throw new Error('it does not run')
    return this.#broker
  }

  socket(tenant: string): string {
    return path.join(this.scratch, 'run', 'tenants', tenant, 'api.sock')
  }

  mount(tenant: string): FakeMount {
    const mount = this.mounts.get(tenant)
    if (mount === undefined) throw new Error(`${tenant} is not served`)
    return mount
  }

  async start(policies: Policy[]): Promise<void> {
    this.#broker = await openBroker({
      stateDirectory: path.join(this.scratch, 'state'),
      runtimeDirectory: path.join(this.scratch, 'run'),
      log: silent,
    })
    await this.configure(policies)
    await this.add(tenantNamed('acme', ACME))
    await this.add(tenantNamed('bolt', BOLT))
    await this.broker.serveAdmin({
      list: () => [...this.tenants.values()].map((tenant) => this.#report(tenant)),
      add: async (tenant) => {
        if (this.tenants.has(tenant.name)) throw new VfsError('EEXIST', 'it is there')
        await this.add(tenant)
        return this.#report(tenant)
      },
      remove: async (name) => {
        if (!this.tenants.delete(name)) throw new VfsError('ENOENT', 'there is no such tenant')
        await this.broker.removeTenant(name, { forget: true })
      },
    })
  }

  async configure(policies: Policy[], names = ['data', 'logs', 'secret']): Promise<void> {
    await this.broker.configure({ volumes: names.map((name) => this.volume(name)), policies })
  }

  volume(name: string): Volume {
    const backing = path.join(this.scratch, 'volumes', name)
    mkdirSync(backing, { recursive: true })
    return volumeNamed(name, backing, { labels: { kind: name } })
  }

  async add(tenant: Tenant): Promise<void> {
    const mount = new FakeMount()
    this.mounts.set(tenant.name, mount)
    this.tenants.set(tenant.name, tenant)
    await this.broker.addTenant(tenant, mount, {
      keyOf: (place) => Promise.resolve(`k:${place}`),
      evaluate: (...all) => this.evaluate(...all),
      scratchDirectory: path.join(this.scratch, 'spool'),
    })
  }

  async stop(): Promise<void> {
    await this.#broker?.close()
    this.#broker = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.scratch, { recursive: true, force: true })
  }

  #report(tenant: Tenant): TenantReport {
    return {
      ...tenant,
      state: 'serving',
      mountPoint: '/nowhere',
      endpoint: path.dirname(this.socket(tenant.name)),
      error: undefined,
      noticeMs: 0,
    }
  }
}
