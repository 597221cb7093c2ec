/** Reads what a mounted directory says of its program, from its own files. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { ProgramStatus } from '../compute/types.ts'
import { CliError, EXIT, type ExitCode } from './exit.ts'

/** undefined: no program is attached. Never waits for a run. */
export async function readStatus(directory: string): Promise<ProgramStatus | undefined> {
  const text = await readControl(directory, '.status')
  if (text === undefined) return undefined
  // What is not known stands as null in the file; it is left out here.
  return JSON.parse(text, (_, value: unknown) => value ?? undefined) as ProgramStatus
}

export async function readControl(
  directory: string,
  name: '.status' | '.log' | '.error',
): Promise<string | undefined> {
  try {
    return await readFile(path.join(directory, '.results', name), 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (code === 'EACCES')
      throw new CliError(
        EXIT.failed,
        `the results of ${directory} are another user's: ask its owner`,
      )
    throw error
  }
}

export async function writeControl(directory: string, command: 'cancel' | 'rerun'): Promise<void> {
  await writeFile(path.join(directory, '.results/.control'), `${command}\n`)
}

export function noProgram(directory: string): CliError {
  return new CliError(
    EXIT.failed,
    `no program is attached to ${directory}: write one to ${path.join(directory, '.compute')}`,
  )
}

/** What a finished run means for a command that waited for it. */
export function exitCodeOf(status: ProgramStatus): ExitCode {
  switch (status.state) {
    case 'idle':
    case 'queued':
    case 'running':
    case 'ok':
      return EXIT.done
    case 'broken':
      return EXIT.program
    case 'cancelled':
      return EXIT.failed
    case 'failed':
      return status.error?.limit === undefined ? EXIT.program : EXIT.overLimit
  }
}
