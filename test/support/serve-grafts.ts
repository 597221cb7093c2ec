/** The child of graft-mount.ts: a mount whose grafts the parent makes by messages. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'

import { createCompute } from '../../src/compute/index.ts'
import type { Compute } from '../../src/compute/types.ts'
import {
  DEFAULT_RESERVED_NAMES,
  DEFAULT_RUN_LIMITS,
  SANDBOX_POOL,
} from '../../src/config/limits.ts'
import { VfsError } from '../../src/errors.ts'
import { mountNative } from '../../src/file-server/native.ts'
import type { DirectoryKey, VirtualHandler } from '../../src/file-server/types.ts'
import { createSandbox, probeJail } from '../../src/sandbox/index.ts'
import { createVirtualFiles } from '../../src/virtual-files/index.ts'
import type { GraftCommand, GraftMountOptions } from './graft-mount.ts'

const [backing = '', mountPoint = '', state = '', json = '{}'] = process.argv.slice(2)
const options = JSON.parse(json) as GraftMountOptions
let handler: VirtualHandler = () => Promise.reject(new VfsError('ENOTSUP', 'no programs here'))
const tell = (log: string): void => void process.send?.({ log })
const server = await mountNative({
  backing,
  mountPoint,
  exclusive: options.exclusive ?? false,
  allowOther: true,
  listReserved: false,
  sharedBacking: false,
  reserved: DEFAULT_RESERVED_NAMES,
  handler: (request, signal) => handler(request, signal),
  onNotice: (notice) => tell(JSON.stringify(notice)),
})
const programs = options.compute === true ? await startPrograms() : undefined

async function startPrograms(): Promise<{ compute: Compute; close: () => Promise<void> }> {
  const log = Object.fromEntries(
    ['info', 'warn', 'error'].map((level) => [
      level,
      (fields: object, message: string) => tell(`${level}: ${message} ${JSON.stringify(fields)}`),
    ]),
  ) as Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>
  const limits = { ...DEFAULT_RUN_LIMITS, wallMs: 30_000, cpuMs: 20_000 }
  const spool = path.join(state, 'spool')
  mkdirSync(spool, { recursive: true })
  const jail = (await probeJail()).usable ? 'bubblewrap' : 'unsafe-none'
  const sandbox = createSandbox({
    ...SANDBOX_POOL,
    jail,
    spoolDirectory: spool,
    warmLimits: limits,
  })
  const compute = createCompute({
    volume: server.volume,
    fileServer: server,
    sandbox,
    stateDirectory: state,
    limits,
    tenant: 'tenant',
    log,
  })
  await compute.start()
  const files = createVirtualFiles({ compute, fileServer: server, limits, log })
  handler = files.handler
  return {
    compute,
    close: async () => {
      await files.close()
      await compute.close()
      await server.unmount()
      await sandbox.close()
    },
  }
}

async function command(message: GraftCommand): Promise<unknown> {
  switch (message.do) {
    case 'graft': {
      const { at = '', within, name, backing: tree, subpath } = message
      const options = {
        readOnly: message.readOnly ?? false,
        revocable: message.revocable ?? false,
        quotaBytes: message.quotaBytes,
        compute: message.compute ?? false,
        identity: message.identity,
      }
      const key = (): Promise<DirectoryKey> =>
        within === undefined ? server.volume.keyOf(at) : server.graftKey(within, at)
      const graft =
        subpath === undefined
          ? await server.graft(await key(), name, tree, options)
          : await server.graftAt(path.join(at, name), tree, subpath, options)
      await server.shown(graft)
      return graft
    }
    case 'revoke':
      return server.revoke(message.graft)
    case 'programs':
      return programs?.compute.list()
    case 'keyOf':
      return server.volume.keyOf(message.at)
    case 'statistics':
      return server.statistics()
  }
}

process.on('message', (message: GraftCommand & { id: number }) => {
  void command(message).then(
    (result) => process.send?.({ id: message.id, result }),
    (error: unknown) => {
      const { code, message: text } = error as { code?: string; message: string }
      process.send?.({ id: message.id, error: { code, text } })
    },
  )
})
process.send?.({ id: 0 })
process.on('disconnect', () => {
  const end = programs?.close() ?? server.unmount()
  void end.then(() => process.exit(0))
})
