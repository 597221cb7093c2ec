/** The child of scratch-mount.ts: mounts, says so, and serves until its standard input ends. */
import { startNative } from '../../src/file-server/native-mount.ts'
import type { ScratchMountOptions } from './scratch-mount.ts'

const [backing = '', mountPoint = '', json = '{}'] = process.argv.slice(2)
const options = JSON.parse(json) as ScratchMountOptions
const server = startNative(
  {
    backing,
    mountPoint,
    exclusive: options.exclusive ?? false,
    allowOther: true,
    listReserved: options.listReserved ?? false,
    sharedBacking: options.sharedBacking ?? false,
    passthrough: options.passthrough ?? true,
  },
  (reason) => {
    console.error(`the mount ended: ${reason}`)
    process.exit(1)
  },
)
console.log('ready')
process.stdin.resume()
await new Promise((resolve) => process.stdin.once('end', resolve))
await server.stop()
