/**
 * What must hold before a directory is mounted. Each refusal is one sentence that says what to do;
 * nothing here changes anything but a mount point that a crash of insitu left dead.
 */
import { constants } from 'node:fs'
import { access, open, readdir, readFile, realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { INSITU_TYPE, mountAt, readMountTable } from '../file-server/mount-table.ts'
import { makeDirectories } from '../config/directories.ts'
import { detach } from './detach.ts'
import { CliError, EXIT } from './exit.ts'

export interface MountPlaces {
  /** Both absolute and without links. */
  readonly backing: string
  readonly mountPoint: string
  /** A dead mount of ours was taken away first. */
  readonly recovered: boolean
}

export async function checkPlaces(directory: string, mountPoint: string): Promise<MountPlaces> {
  const recovered = await recoverDeadMount(mountPoint)
  const backing = await existing(directory, 'the directory')
  const target = await existing(mountPoint, 'the mount point')
  await access(backing, constants.R_OK | constants.X_OK).catch(() => {
    throw refusal(
      `the directory ${backing} is not readable: give yourself read and search permission`,
    )
  })
  if (backing === target)
    throw refusal(
      `${target} cannot be mounted on itself: use another, empty directory as mount point`,
    )
  if (isBelow(target, backing))
    throw refusal(`the mount point ${target} is below the directory: use one outside ${backing}`)
  if (isBelow(backing, target))
    throw refusal(
      `the mount point ${target} would hide the directory ${backing}: use one elsewhere`,
    )
  const mount = mountAt(await readMountTable(), target)
  if (mount?.type === INSITU_TYPE)
    throw refusal(`${target} is mounted by insitu already: run "insitu unmount ${target}" first`)
  if (mount !== undefined)
    throw refusal(`${target} is busy: ${mount.type} is mounted there; use another mount point`)
  if ((await readdir(target)).length > 0)
    throw refusal(`the mount point ${target} is not empty: use an empty directory`)
  return { backing, mountPoint: target, recovered }
}

/**
 * Makes the state directory where it is missing; returns its path without links. State inside the
 * volume would be served, changed and removed through the mount.
 */
export async function makeState(
  place: string,
  { backing, mountPoint }: MountPlaces,
): Promise<string> {
  const state = await withoutLinks(path.resolve(place))
  for (const tree of [backing, mountPoint]) {
    if (state === tree || isBelow(state, tree))
      throw refusal(
        `the state directory ${state} is inside ${tree}: choose one outside with --state`,
      )
  }
  try {
    await makeDirectories(state, 0o700)
    if ((await stat(state)).isDirectory()) return state
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw refusal(`the state directory ${state} cannot be made (${code}): choose another --state`)
  }
  throw refusal(`the state directory ${state} is not a directory: choose another --state`)
}

/** As realpath(3), also of what is not there yet. */
async function withoutLinks(place: string): Promise<string> {
  const parent = path.dirname(place)
  return await realpath(place).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || parent === place) return place
    return path.join(await withoutLinks(parent), path.basename(place))
  })
}

export async function checkFuse(uid: number, allowOther: boolean): Promise<void> {
  try {
    await (await open('/dev/fuse', 'r+')).close()
  } catch (error) {
    throw unavailable(deviceProblem((error as NodeJS.ErrnoException).code), error)
  }
  if (uid === 0) return
  if (!(await hasSetuidFusermount(process.env['PATH'] ?? '')))
    throw unavailable('mounting without root needs fusermount3: install the package fuse3')
  if (allowOther && !/^\s*user_allow_other\s*$/m.test(await text('/etc/fuse.conf')))
    throw unavailable(
      '--allow-other without root needs the line user_allow_other in /etc/fuse.conf',
    )
}

function deviceProblem(code: string | undefined): string {
  if (code === 'ENOENT')
    return 'there is no /dev/fuse: load the module (modprobe fuse), or give the container the device'
  if (code === 'EACCES' || code === 'EPERM')
    return '/dev/fuse may not be opened: run as root, or let an administrator chmod it to 0666'
  return `/dev/fuse cannot be opened (${code ?? 'unknown error'}): run "insitu doctor"`
}

export async function hasSetuidFusermount(searchPath: string): Promise<boolean> {
  for (const folder of searchPath.split(':').filter((each) => path.isAbsolute(each))) {
    const info = await stat(path.join(folder, 'fusermount3')).catch(() => undefined)
    if (info?.isFile()) return info.uid === 0 && (info.mode & 0o4000) !== 0
  }
  return false
}

/**
 * After a crash every access to the mount point fails with ENOTCONN. Takes such a mount away if it is
 * one of insitu's; other people's dead mounts are theirs.
 */
async function recoverDeadMount(mountPoint: string): Promise<boolean> {
  const code = await stat(mountPoint).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error.code,
  )
  if (code !== 'ENOTCONN') return false
  const target = await realpath(mountPoint) // a dead mount still resolves
  const mount = mountAt(await readMountTable(), target)
  if (mount?.type !== INSITU_TYPE)
    throw refusal(
      `${target} is a dead mount of ${mount?.type ?? 'something else'}: run "umount -l ${target}" first`,
    )
  await detach(target)
  return true
}

async function existing(place: string, what: string): Promise<string> {
  try {
    const resolved = await realpath(place)
    if ((await stat(resolved)).isDirectory()) return resolved
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw refusal(`${what} ${place} does not exist: create it with mkdir`)
    throw refusal(`${what} ${place} cannot be used (${code}): check its path and permissions`)
  }
  throw refusal(`${what} ${place} is not a directory: name a directory`)
}

export function isBelow(inner: string, outer: string): boolean {
  return inner.startsWith(outer.endsWith('/') ? outer : `${outer}/`)
}

async function text(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch(() => '')
}

function refusal(message: string): CliError {
  return new CliError(EXIT.failed, message)
}

function unavailable(message: string, cause?: unknown): CliError {
  return new CliError(EXIT.unavailable, message, { cause })
}
