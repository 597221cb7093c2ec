/** Where commands find the daemon of many tenants, and what came of the last reading of its file. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { isAlive, startTicksOf } from './registry.ts'

export interface ServeRecord {
  readonly pid: number
  readonly startTicks: string
  /** Absolute path of the configuration. */
  readonly file: string
  /** How often the file was read. */
  readonly reads: number
  /** Of the last reading; undefined: it went well. */
  readonly error: string | undefined
}

function place(runtimeDirectory: string): string {
  return path.join(runtimeDirectory, 'serve.json')
}

export async function writeServeRecord(
  runtimeDirectory: string,
  record: Omit<ServeRecord, 'pid' | 'startTicks'>,
): Promise<void> {
  const startTicks = (await startTicksOf(process.pid)) ?? ''
  const file = place(runtimeDirectory)
  await writeFile(`${file}.new`, JSON.stringify({ ...record, pid: process.pid, startTicks }))
  await rename(`${file}.new`, file)
}

export async function removeServeRecord(runtimeDirectory: string): Promise<void> {
  await rm(place(runtimeDirectory), { force: true })
}

/** undefined: no daemon runs there. The directory is root's alone to write. */
export async function readServeRecord(runtimeDirectory: string): Promise<ServeRecord | undefined> {
  try {
    const record = JSON.parse(await readFile(place(runtimeDirectory), 'utf8')) as ServeRecord
    return (await isAlive(record)) ? record : undefined
  } catch {
    return undefined
  }
}
