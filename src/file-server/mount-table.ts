/** What is mounted where, from the kernel's own table: reading it never touches a mount. */
import { readFile } from 'node:fs/promises'

export interface MountEntry {
  readonly mountPoint: string
  /** As `fuse.insitu`. */
  readonly type: string
  readonly source: string
  /** The device's minor number: names the FUSE connection. */
  readonly minor: number
}

export const INSITU_TYPE = 'fuse.insitu'

export async function readMountTable(file = '/proc/self/mountinfo'): Promise<MountEntry[]> {
  return parseMountTable(await readFile(file, 'utf8'))
}

/** Format: proc_pid_mountinfo(5). */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ', 2)
    const device = left?.split(' ')[2]
    const mountPoint = left?.split(' ')[4]
    const [type, source] = right?.split(' ') ?? []
    if (device === undefined || mountPoint === undefined || type === undefined) continue
    entries.push({
      mountPoint: unescape(mountPoint),
      type,
      source: unescape(source ?? ''),
      minor: Number(device.split(':')[1]),
    })
  }
  return entries
}

/** The topmost mount at exactly this path. */
export function mountAt(table: readonly MountEntry[], mountPoint: string): MountEntry | undefined {
  return table.findLast((entry) => entry.mountPoint === mountPoint)
}

/** Space, tab, newline and backslash come as octal; the bytes around them are UTF-8 already. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
