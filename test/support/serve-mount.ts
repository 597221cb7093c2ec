/** The child of scratch-mount.ts: mounts, says so, and serves until its standard input ends. */
import { startNative } from '../../src/file-server/native-mount.ts'
import { FILE_SERVER } from './file-server.ts'
import type { ScratchMountOptions } from './scratch-mount.ts'

const [backing = '', mountPoint = '', json = '{}'] = process.argv.slice(2)
const options = JSON.parse(json) as ScratchMountOptions
const onEnded = (reason: string): void => {
  console.error(`the mount ended: ${reason}`)
  process.exit(1)
}

async function fallback(): Promise<{ stop(): Promise<void> }> {
  const { mountOrdinaryFiles } = await import('../../src/file-server/fuse-native/ordinary-only.ts')
  const server = await mountOrdinaryFiles({
    backing,
    mountPoint,
    // As the native one without virtual files: no name is reserved.
    reserved: { compute: '', results: '', query: '' },
    onNotice: (notice) => onEnded(JSON.stringify(notice)),
  })
  return { stop: () => server.unmount() }
}

const server =
  FILE_SERVER === 'fuse-native'
    ? await fallback()
    : await startNative(
        {
          backing,
          mountPoint,
          exclusive: options.exclusive ?? false,
          allowOther: true,
          listReserved: options.listReserved ?? false,
          sharedBacking: options.sharedBacking ?? false,
          passthrough: options.passthrough ?? true,
        },
        onEnded,
      )
console.log('ready')
process.stdin.resume()
await new Promise((resolve) => process.stdin.once('end', resolve))
await server.stop()
process.exit(0)
