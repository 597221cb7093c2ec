/** What a process sees where, by its own mount table: reading that touches no mount. */
import { open } from 'node:fs/promises'

export interface SeenMount {
  readonly id: string
  readonly parent: string
  /** Minor number of its device, if the major is 0. */
  readonly deviceMinor: number | undefined
  /** Of the filesystem: the directory that is shown. */
  readonly root: string
  readonly mountPoint: string
  /** Of the mount, not of its filesystem, as `ro,nosuid`. */
  readonly options: string
}

/** A container with more mounts than that is not looked at. */
const MAX_TABLE_BYTES = 4 * 1024 * 1024

/** ENOENT, ESRCH: the process ended. Undefined: too large. */
export async function mountsOf(pid: number): Promise<SeenMount[] | undefined> {
  await using file = await open(`/proc/${pid}/mountinfo`)
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(65_536))
    if (bytesRead === 0) return parseMounts(Buffer.concat(chunks).toString('utf8'))
    chunks.push(buffer.subarray(0, bytesRead))
    sizeBytes += bytesRead
    if (sizeBytes > MAX_TABLE_BYTES) return undefined
  }
}

/** Format: proc_pid_mountinfo(5). */
export function parseMounts(text: string): SeenMount[] {
  return text.split('\n').flatMap((line) => {
    const [id, parent, device, root, mountPoint, options = ''] = line.split(' ')
    if (id === undefined || parent === undefined || mountPoint === undefined) return []
    const [major, minor] = device?.split(':') ?? []
    return [
      {
        id,
        parent,
        deviceMinor: major === '0' ? Number(minor) : undefined,
        root: unescape(root ?? '/'),
        mountPoint: unescape(mountPoint),
        options,
      },
    ]
  })
}

/** The mount that a walk of `path` (absolute) ends in: from the root on, what covers goes first. */
export function mountAtEnd(mounts: readonly SeenMount[], path: string): SeenMount | undefined {
  const ids = new Set(mounts.map(({ id }) => id))
  let seen = mounts.find(({ parent, mountPoint }) => mountPoint === '/' && !ids.has(parent))
  seen ??= mounts.find(({ mountPoint }) => mountPoint === '/')
  // Each step leads to another mount.
  for (let steps = mounts.length; seen !== undefined && steps > 0; steps -= 1) {
    const here: SeenMount = seen
    const next = mounts
      .filter((each) => each.parent === here.id && each.id !== here.id)
      .filter((each) => isOnTheWay(each.mountPoint, path))
      .toSorted((one, other) => one.mountPoint.length - other.mountPoint.length)[0]
    if (next === undefined) return here
    seen = next
  }
  return seen
}

function isOnTheWay(mountPoint: string, path: string): boolean {
  return mountPoint === '/' || path === mountPoint || path.startsWith(`${mountPoint}/`)
}

/** Space, tab, newline and backslash come as octal. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
