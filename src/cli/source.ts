/** Reads a guest program that a command was given. */
import { open } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { formatSize } from '../config/units.ts'
import type { GuestError } from '../sandbox/types.ts'
import type { Principal } from '../file-server/types.ts'
import { CliError, EXIT, oneLine } from './exit.ts'

/** `-` is standard input. */
export async function readProgram(file: string, boundBytes: number): Promise<Uint8Array> {
  const source = file === '-' ? await buffer(process.stdin) : await readBounded(file, boundBytes)
  if (source.length > boundBytes)
    throw new CliError(
      EXIT.overLimit,
      `${file} is over the limit of ${formatSize(boundBytes)} for programs: make it smaller`,
    )
  return source
}

async function readBounded(file: string, boundBytes: number): Promise<Uint8Array> {
  try {
    await using handle = await open(file)
    const source = Buffer.alloc(boundBytes + 1)
    // A pipe, as <(command), gives it in pieces.
    for (let sizeBytes = 0; ;) {
      const { bytesRead } = await handle.read(source, sizeBytes)
      sizeBytes += bytesRead
      if (bytesRead === 0 || sizeBytes === source.length) return source.subarray(0, sizeBytes)
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new CliError(EXIT.failed, `the program ${file} ${what}: check the path`, { cause })
  }
}

/** Who runs this command. */
export function currentPrincipal(): Principal {
  return {
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    groups: process.getgroups?.() ?? [],
  }
}

/** As compilers say it, so that editors find the place. */
export function describeGuestError(
  file: string,
  { name, message, line, column }: Omit<GuestError, 'stack'>,
): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`
  return oneLine(`${place}: ${name}: ${message}`)
}
