/** The child of broker.ts: one tenant's mount and endpoint, over the volume `data`. */
import { volumeNamed } from '../../test/support/broker-fixtures.ts'
import { openBroker } from '../../src/broker/index.ts'
import { VfsError } from '../../src/errors.ts'
import { mountAt, readMountTable } from '../../src/file-server/mount-table.ts'
import { mountNative } from '../../src/file-server/native.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { ContainerMounts } from '../../src/tenants/container-mounts.ts'

const [scratch = ''] = process.argv.slice(2)
const began = performance.now()
const mountPoint = `${scratch}/mount`
const log = createLog({ level: 'error', human: true, fd: 2 })
const common = {
  exclusive: true,
  allowOther: true,
  listReserved: false,
  sharedBacking: false,
  threads: 4,
  reserved: { compute: '.compute', results: '.results', query: '.query' },
  handler: () => Promise.reject(new VfsError('ENOTSUP', 'no programs here')),
  onNotice: () => undefined,
}
const server = await mountNative({ ...common, backing: `${scratch}/home`, mountPoint })
const containers = new ContainerMounts({
  directory: `${scratch}/containers`,
  ids: { first: 100_000, count: 1 },
  serve: async ({ backing, ids }, _, undo) => {
    const detached = await mountNative({ ...common, backing, ids, mountPoint: undefined })
    undo.defer(() => detached.unmount())
    return detached
  },
  log,
})
const mounted = mountAt(await readMountTable(), mountPoint)
const broker = await openBroker({
  stateDirectory: `${scratch}/state`,
  runtimeDirectory: `${scratch}/run`,
  log,
})
await broker.configure({
  volumes: [volumeNamed('data', `${scratch}/data`)],
  policies: [
    {
      name: 'all',
      tenants: ['*'],
      volumes: { names: ['*'], labels: {} },
      modes: ['ro', 'rw'],
      subpaths: [''],
      maxTtlMs: undefined,
      revocable: true,
      maxGrants: 100_000,
      maxQuotaBytes: undefined,
      compute: false,
      discoverable: true,
    },
  ],
})
const { restored, failed } = await broker.addTenant(
  { name: 'acme', ids: { first: 100_000, count: 1 }, labels: {}, locality: undefined },
  {
    mountPoint,
    deviceMinor: mounted?.minor ?? 0,
    graft: (at, { backing, subpath }, options) => server.graftAt(at, backing, subpath, options),
    inject: (...args) => containers.inject(...args),
    clear: (place) => containers.clear(place),
    drifted: () => containers.drifted(),
    revoke: (graft) => containers.revoke(graft) ?? server.revoke(graft),
    openHandles: (graft) =>
      server.graftsWithin(graft).reduce((sum, { openHandles }) => sum + openHandles, 0),
    grafts: () => [
      ...server.statistics().grafts.map(({ id, path, openHandles }) => ({
        graft: id,
        at: path,
        deviceMinor: mounted?.minor ?? 0,
        openHandles,
      })),
      ...containers.grafts(),
    ],
    shown: (graft) => (containers.has(graft) ? Promise.resolve() : server.shown(graft)),
    usage: () => [...server.usage(), ...containers.usage()],
    latencies: () => server.latencies(),
    holdWrites: (graft, longestMs) => server.holdWrites(graft, longestMs),
    letWrite: (graft) => server.letWrite(graft),
  },
  undefined,
)
await broker.serveAdmin({
  list: () => [],
  add: () => Promise.reject(new VfsError('ENOTSUP', 'one tenant is enough')),
  remove: () => Promise.reject(new VfsError('ENOTSUP', 'it stays')),
})
process.send?.({ ms: performance.now() - began, restored, failed })
process.on('disconnect', () => {
  void broker
    .close()
    .then(() => containers.close())
    .then(() => server.unmount())
    .then(() => process.exit(0))
})
