/** `insitu unmount`: ends a mount in order, or takes away what a crash left. */
import { realpath } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { INSITU_TYPE, mountAt, readMountTable } from '../file-server/mount-table.ts'
import { isAlive, type MountRecord } from '../daemon/registry.ts'
import { detach } from './detach.ts'
import { CliError, EXIT } from './exit.ts'
import { runningMounts } from './locate.ts'
import { example } from './options.ts'

/** Ending runs takes a kill and a wait; anything longer is stuck. */
const PATIENCE_MS = 15_000

export function addUnmount(program: Command): void {
  program
    .command('unmount')
    .alias('umount')
    .description('unmount MOUNTPOINT and end its daemon; the files stay plain files')
    .argument('<mountpoint>')
    .addHelpText('after', example('$ insitu unmount /mnt/logs'))
    .action(unmount)
}

async function unmount(place: string): Promise<void> {
  const mountPoint = await withoutTouching(place)
  const record = (await runningMounts()).find((each) => each.mountPoint === mountPoint)
  const mounted = mountAt(await readMountTable(), mountPoint)
  if (record === undefined && mounted === undefined)
    throw new CliError(
      EXIT.failed,
      `nothing is mounted at ${mountPoint}: "insitu status" lists mounts`,
    )
  if (record === undefined && mounted?.type !== INSITU_TYPE)
    throw new CliError(EXIT.failed, `${mountPoint} is not a mount of insitu: use umount`)
  if (record !== undefined) await end(record)
  if (mountAt(await readMountTable(), mountPoint)?.type === INSITU_TYPE) await detach(mountPoint)
}

async function end(record: MountRecord): Promise<void> {
  try {
    process.kill(record.pid, 'SIGTERM')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EPERM')
      throw new CliError(
        EXIT.failed,
        `${record.mountPoint} belongs to another user: ask them, or root`,
      )
    if (code !== 'ESRCH') throw error
  }
  const deadline = Date.now() + PATIENCE_MS
  while (await isAlive(record)) {
    if (Date.now() > deadline)
      throw new CliError(
        EXIT.timedOut,
        `the daemon (pid ${record.pid}) does not end: kill it, then run this again`,
      )
    await sleep(10)
  }
}

/** The path without links; the last component is not looked at, since a dead mount answers nothing. */
async function withoutTouching(place: string): Promise<string> {
  const absolute = path.resolve(place)
  const alive = await realpath(absolute).catch(() => undefined)
  if (alive !== undefined) return alive
  const parent = await realpath(path.dirname(absolute)).catch(() => path.dirname(absolute))
  return path.join(parent, path.basename(absolute))
}
