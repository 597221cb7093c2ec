/** The child of graft-mount.ts: a mount without programs, whose grafts the parent makes by messages. */
import { VfsError } from '../../src/errors.ts'
import { mountNative } from '../../src/file-server/native.ts'
import type { GraftCommand, GraftMountOptions } from './graft-mount.ts'

const [backing = '', mountPoint = '', json = '{}'] = process.argv.slice(2)
const options = JSON.parse(json) as GraftMountOptions
const server = await mountNative({
  backing,
  mountPoint,
  exclusive: options.exclusive ?? false,
  allowOther: true,
  listReserved: false,
  sharedBacking: false,
  reserved: { compute: '.compute', results: '.results', query: '.query' },
  handler: () => Promise.reject(new VfsError('ENOTSUP', 'no programs here')),
  onNotice: () => undefined,
})

async function command(message: GraftCommand): Promise<unknown> {
  switch (message.do) {
    case 'graft': {
      const { at = '', within, name, backing: tree } = message
      const key =
        within === undefined ? await server.volume.keyOf(at) : await server.graftKey(within, at)
      return server.graft(key, name, tree, {
        readOnly: message.readOnly ?? false,
        revocable: message.revocable ?? false,
        quotaBytes: message.quotaBytes,
      })
    }
    case 'revoke':
      return server.revoke(message.graft)
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
process.on('disconnect', () => void server.unmount().then(() => process.exit(0)))
