/** Takes a mount away whose server is gone or does not answer. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { CliError, EXIT } from './exit.ts'

const run = promisify(execFile)

/** Lazily: what is still open there stays open and fails, nothing waits. Never through a shell. */
export async function detach(mountPoint: string): Promise<void> {
  const [command, ...args] =
    process.getuid?.() === 0
      ? ['umount', '--lazy', '--no-canonicalize']
      : ['fusermount3', '-u', '-z']
  try {
    await run(command ?? '', [...args, '--', mountPoint], { timeout: 10_000 })
  } catch (cause) {
    const { stderr } = cause as { stderr?: string }
    const why = stderr?.trim() || `${command} failed`
    throw new CliError(EXIT.failed, `${mountPoint} cannot be unmounted: ${why}`, { cause })
  }
}
