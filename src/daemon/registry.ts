/**
 * The register of running mounts: one JSON file each in the runtime directory. An entry counts only
 * while the very process that wrote it lives, so what a crash left behind is recognised.
 */
import { createHash } from 'node:crypto'
import { lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

export interface MountRecord {
  readonly pid: number
  /** Of the process, in clock ticks since boot: tells a reused pid from the one that wrote this. */
  readonly startTicks: string
  readonly mountPoint: string
  readonly backing: string
  readonly stateDirectory: string
  readonly socket: string
  readonly startedAt: string
}

/** Socket paths are bounded to 107 bytes by the kernel, so names are digests of the mount point. */
export function recordName(mountPoint: string): string {
  return createHash('sha256').update(mountPoint).digest('hex').slice(0, 16)
}

export async function register(runtimeDirectory: string, record: MountRecord): Promise<void> {
  const folder = await prepare(runtimeDirectory)
  const file = path.join(folder, `${recordName(record.mountPoint)}.json`)
  await writeFile(`${file}.${record.pid}`, JSON.stringify(record), { mode: 0o644 })
  await rename(`${file}.${record.pid}`, file)
}

export async function unregister(runtimeDirectory: string, record: MountRecord): Promise<void> {
  const file = path.join(runtimeDirectory, 'mounts', `${recordName(record.mountPoint)}.json`)
  const current = await readRecord(file)
  // A successor may have registered the same mount point already.
  if (current?.pid === record.pid && current.startTicks === record.startTicks)
    await rm(file, { force: true })
}

/** Of the mount that this process serves; makes the folder of records. */
export async function describeMount(
  options: Pick<MountRecord, 'mountPoint' | 'backing' | 'stateDirectory'> & {
    readonly runtimeDirectory: string
  },
): Promise<MountRecord> {
  await prepare(options.runtimeDirectory)
  const startTicks = await startTicksOf(process.pid)
  if (startTicks === undefined) throw new Error('/proc is not mounted; mount it to run insitu')
  return {
    pid: process.pid,
    startTicks,
    mountPoint: options.mountPoint,
    backing: options.backing,
    stateDirectory: options.stateDirectory,
    socket: path.join(options.runtimeDirectory, 'mounts', `${recordName(options.mountPoint)}.sock`),
    startedAt: new Date().toISOString(),
  }
}

/** Creates the folder of records; returns it. */
export async function prepare(runtimeDirectory: string): Promise<string> {
  const folder = path.join(runtimeDirectory, 'mounts')
  await mkdir(folder, { recursive: true, mode: 0o755 })
  // The fallback below /tmp has a name that anybody could have taken first.
  for (const each of [runtimeDirectory, folder]) {
    if (!(await isTrusted(each, [process.getuid?.()])))
      throw new Error(`${each} must be a directory of yours that nobody else may write to`)
  }
  return folder
}

async function isTrusted(directory: string, owners: readonly unknown[]): Promise<boolean> {
  const info = await lstat(directory).catch(() => undefined)
  return info?.isDirectory() === true && owners.includes(info.uid) && (info.mode & 0o022) === 0
}

/** Running mounts, by mount point. Records of dead processes are left out. */
export async function running(runtimeDirectories: readonly string[]): Promise<MountRecord[]> {
  const records = new Map<string, MountRecord>()
  for (const directory of new Set(runtimeDirectories)) {
    const folder = path.join(directory, 'mounts')
    // What somebody else put there would have us signal their choice of processes, and speak to their
    // sockets. Root's own register is everybody's to read.
    const owners = [process.getuid?.(), 0]
    if (!(await isTrusted(directory, owners)) || !(await isTrusted(folder, owners))) continue
    const names = await readdir(folder).catch(() => [])
    for (const name of names.filter((each) => each.endsWith('.json'))) {
      const record = await readRecord(path.join(folder, name))
      if (record !== undefined && (await isAlive(record))) records.set(record.mountPoint, record)
    }
  }
  return [...records.values()].toSorted((a, b) => (a.mountPoint < b.mountPoint ? -1 : 1))
}

export async function isAlive(record: Pick<MountRecord, 'pid' | 'startTicks'>): Promise<boolean> {
  return (await startTicksOf(record.pid)) === record.startTicks
}

/** undefined: there is no such process (any more; a zombie does not count). */
export async function startTicksOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  // The command name can hold anything, so fields are counted from its closing parenthesis.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields?.[0] === 'Z' ? undefined : fields?.[19]
}

async function readRecord(file: string): Promise<MountRecord | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    return isRecord(value) ? value : undefined
  } catch {
    return undefined // gone meanwhile, or not ours: either way not a running mount
  }
}

function isRecord(value: unknown): value is MountRecord {
  if (typeof value !== 'object' || value === null) return false
  const record = value as Record<string, unknown>
  const texts = ['startTicks', 'mountPoint', 'backing', 'stateDirectory', 'socket', 'startedAt']
  return (
    Number.isSafeInteger(record['pid']) && texts.every((key) => typeof record[key] === 'string')
  )
}
