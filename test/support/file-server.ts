/**
 * Which file server the mounts of this process use: `INSITU_FILE_SERVER=fuse-native` runs a test file
 * over the fallback. What that cannot do stands test by test in fuse-native-limits.ts.
 */
import type { FileServerName } from '../../src/file-server/types.ts'
import { LIMITS } from './fuse-native-limits.ts'

export const FILE_SERVER: FileServerName =
  process.env['INSITU_FILE_SERVER'] === 'fuse-native' ? 'fuse-native' : 'native'

type Body = () => Promise<void> | void

/** `body`, or what stands for it where the file server is known not to do it. */
export function withLimits(suite: string, name: string, body: Body): Body {
  const limit =
    FILE_SERVER === 'native' ? undefined : (LIMITS[suite]?.[name] ?? LIMITS[suite]?.['*'])
  if (limit === undefined) return body
  if (limit.skip === true)
    return () => console.log(`SKIP ${suite}: ${name}: a limit of fuse-native: ${limit.why}`)
  return async () => {
    try {
      await body()
    } catch {
      console.log(`LIMIT ${suite}: ${name}: fails as expected: ${limit.why}`)
      return
    }
    throw new Error(`it works over fuse-native: take it from the list (${limit.why})`)
  }
}
