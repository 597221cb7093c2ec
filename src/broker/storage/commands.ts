/** The system's own tools, called with words and never by a shell; each in bounded time. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** Where Debian and its like have them; a service may have been started with less. */
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin'
const MAX_OUTPUT_BYTES = 64 * 1024

/** `message` is for operators: it may hold paths of this machine. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  /** It could not be started: the package is missing. */
  readonly missing: boolean

  constructor(message: string, missing: boolean, options?: ErrorOptions) {
    super(message, options)
    this.missing = missing
  }
}

/** Its standard output; CommandError when it did not exit with 0 in time. */
export async function run(
  program: string,
  words: readonly string[],
  timeoutMs: number,
): Promise<string> {
  try {
    const { stdout } = await exec(program, words, {
      timeout: timeoutMs,
      killSignal: 'SIGTERM',
      maxBuffer: MAX_OUTPUT_BYTES,
      cwd: '/',
      env: { PATH, LC_ALL: 'C' },
    })
    return stdout.trim()
  } catch (error) {
    const { code, signal, stderr } = error as {
      code?: unknown
      signal?: string | null
      stderr?: string
    }
    if (code === 'ENOENT')
      throw new CommandError(`there is no ${program} on this machine`, true, { cause: error })
    const said = (stderr ?? '').trim().split('\n').filter(Boolean)
    const why = signal ? `did not end within ${timeoutMs} ms` : (said.at(-1) ?? String(error))
    const name = program.split('/').at(-1) ?? program
    throw new CommandError(why.startsWith(`${name}: `) ? why : `${name}: ${why}`, false, {
      cause: error,
    })
  }
}
