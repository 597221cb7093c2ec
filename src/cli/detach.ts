/** Takes a mount away whose server is gone or does not answer. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { CliError, EXIT } from './exit.ts'

const run = promisify(execFile)

/** Lazily: what is still open there stays open and fails, nothing waits. Never through a shell. */
export async function detach(mountPoint: string): Promise<void> {
  try {
    const native =
      process.getuid?.() === 0
        ? await import('../file-server/native.ts').catch(() => undefined)
        : undefined
    if (native !== undefined) native.unmountDetached(mountPoint)
    else if (process.getuid?.() === 0) {
      // Without the addon: it alone is safe from links that come in between.
      await run('umount', ['-i', '-l', '--', mountPoint], { timeout: 10_000 })
    } else {
      await run('fusermount3', ['-u', '-z', '--', mountPoint], { timeout: 10_000 })
    }
  } catch (cause) {
    const { stderr, message } = cause as Error & { stderr?: string }
    const why = stderr?.trim() || message
    throw new CliError(EXIT.failed, `${mountPoint} cannot be unmounted: ${why}`, { cause })
  }
}
