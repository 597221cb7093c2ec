/** Finds the running mount that a path belongs to. */
import { realpath, statfs } from 'node:fs/promises'
import path from 'node:path'
import { currentEnvironment, runtimeDirectories } from '../config/paths.ts'
import { running, type MountRecord } from '../daemon/registry.ts'
import { INSITU_TYPE, type MountEntry, readMountTable } from '../file-server/mount-table.ts'
import { CliError, EXIT } from './exit.ts'
import { isBelow } from './preflight.ts'

export interface Located {
  readonly mount: MountRecord
  /** Absolute, without links. */
  readonly directory: string
  /** Relative to the volume, '' is its root. */
  readonly inVolume: string
}

export async function runningMounts(): Promise<MountRecord[]> {
  return await running(runtimeDirectories(currentEnvironment()))
}

/** As `locate`, for what only needs the files in it: also on a mount of a tenant. */
export async function locateDirectory(place: string): Promise<string> {
  const directory = await directoryOf(place)
  return (await isOnInsitu(directory)) ? directory : (await locate(place)).directory
}

async function isOnInsitu(directory: string): Promise<boolean> {
  const around = (await readMountTable())
    .filter(({ mountPoint }) => directory === mountPoint || isBelow(directory, mountPoint))
    .reduce<MountEntry | undefined>(
      (inner, each) => (each.mountPoint.length >= (inner?.mountPoint.length ?? 0) ? each : inner),
      undefined,
    )
  return around?.type === INSITU_TYPE
}

/** `place` is a directory on a mount, or a reserved name or result in it. */
export async function locate(place: string): Promise<Located> {
  const directory = await directoryOf(place)
  const mounts = await runningMounts()
  const mount = mounts
    .filter((each) => directory === each.mountPoint || isBelow(directory, each.mountPoint))
    .toSorted((a, b) => b.mountPoint.length - a.mountPoint.length)[0]
  if (mount !== undefined)
    return { mount, directory, inVolume: path.relative(mount.mountPoint, directory) }
  const behind = mounts.find(
    (each) => directory === each.backing || isBelow(directory, each.backing),
  )
  if (behind === undefined)
    throw new CliError(
      EXIT.failed,
      (await isOnInsitu(directory))
        ? `${directory} is on the mount of a tenant: "insitu status", "logs" and "wait" tell of its program; lists and archives are of mounts of "insitu mount"`
        : `${directory} is on no mount of insitu: "insitu status" lists mounts`,
    )
  const seen = path.join(behind.mountPoint, path.relative(behind.backing, directory))
  throw new CliError(EXIT.failed, `${directory} is behind a mount: name it as ${seen}`)
}

async function directoryOf(place: string): Promise<string> {
  const absolute = path.resolve(place)
  const parts = absolute.split('/')
  const reserved = parts.findIndex((part) => part === '.compute' || part === '.results')
  const directory = reserved === -1 ? absolute : parts.slice(0, reserved).join('/') || '/'
  try {
    const resolved = await realpath(directory)
    await statfs(resolved) // a dead mount still resolves, and the kernel may remember what a stat says
    return resolved
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT')
      throw new CliError(EXIT.failed, `${place} does not exist: check the path`)
    if (code === 'ENOTCONN')
      throw new CliError(
        EXIT.failed,
        `${place} is on a mount whose daemon is gone: mount it again with "insitu mount", or start its "insitu serve"`,
      )
    throw error
  }
}
