/** Where `scripts/bench/files` measures: the backing directory, mounts of it, and peers' mounts. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { root } from './measure.ts'

const run = promisify(execFile)

/** A peer that takes longer to come up than this is left out. */
const MOUNT_TIMEOUT_MS = 30_000

export interface Place {
  readonly name: string
  /** Where it shows the backing directory. */
  readonly folder: string
  /** A second mount of the same kind, for the row of two at once. */
  readonly second?: string
  /** Has files of its own (it stores them its own way): they are copied in, but for the many. */
  readonly ownStore?: true
}

export interface Missing {
  readonly name: string
  readonly why: string
}

/** One way to show `backing` at `mountPoint`; it is unmounted by path. */
interface Server {
  readonly name: string
  /** Debian's package, which is also the command's name. */
  readonly debian?: string
  readonly ownStore?: true
  readonly twice?: true
  mount(backing: string, mountPoint: string): Promise<void>
}

/** Mounts all that can be had; the caller unmounts whatever is mounted below `scratch`. */
export async function mountPlaces(
  scratch: string,
  backing: string,
  only: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<{ places: Place[]; missing: Missing[] }> {
  const places: Place[] = [{ name: 'backing', folder: backing }]
  const missing: Missing[] = [
    { name: "libfuse's passthrough_hp", why: 'Debian does not ship libfuse’s examples' },
  ]
  for (const server of servers(scratch)) {
    signal.throwIfAborted()
    if (only !== undefined && !only.includes(server.name)) continue
    const why = unavailable(server)
    if (why !== undefined) {
      missing.push({ name: server.name, why })
      continue
    }
    const folder = path.join(scratch, server.name.replaceAll(' ', '-'))
    const second = server.twice ? `${folder}-2` : undefined
    try {
      for (const mountPoint of second === undefined ? [folder] : [folder, second]) {
        mkdirSync(mountPoint)
        await server.mount(backing, mountPoint)
        if (!isMounted(mountPoint)) throw new Error('it did not mount')
      }
      places.push({
        name: server.name,
        folder,
        ...(second === undefined ? {} : { second }),
        ...(server.ownStore ? { ownStore: true } : {}),
      })
    } catch (error) {
      missing.push({ name: server.name, why: reasonOf(error) })
    }
  }
  return { places, missing }
}

/** Every mount below `scratch`, the youngest first. */
export function mountsBelow(scratch: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mountPoint) => mountPoint.startsWith(`${scratch}/`))
    .toReversed()
}

const isMounted = (folder: string): boolean => mountsBelow(path.dirname(folder)).includes(folder)

function unavailable({ debian }: Server): string | undefined {
  if (debian === undefined || has(debian)) return undefined
  if (process.getuid?.() !== 0) return `not installed: apt install ${debian}`
  console.error(`installing ${debian}`)
  spawnSync('apt-get', ['install', '-y', '-qq', debian], {
    stdio: 'ignore',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  return has(debian) ? undefined : `apt-get could not install ${debian}`
}

const has = (command: string): boolean =>
  spawnSync('sh', ['-c', 'command -v "$1"', 'sh', command]).status === 0

function servers(scratch: string): Server[] {
  const insitu = path.join(root, 'bin/insitu')
  let states = 0
  const mountInsitu =
    (...options: string[]) =>
    async (backing: string, mountPoint: string): Promise<void> => {
      const state = path.join(scratch, `state-${(states += 1)}`)
      const words = ['mount', backing, mountPoint, '--detach', '--state', state, ...options]
      await run(insitu, words, { timeout: MOUNT_TIMEOUT_MS })
    }
  const help = spawnSync(insitu, ['mount', '--help'], { encoding: 'utf8' }).stdout
  const command =
    (name: string, words: (backing: string, mountPoint: string) => string[]) =>
    async (backing: string, mountPoint: string): Promise<void> =>
      void (await run(name, words(backing, mountPoint), { timeout: MOUNT_TIMEOUT_MS }))
  const list: Server[] = [
    { name: 'insitu', twice: true, mount: mountInsitu() },
    { name: 'exclusive', mount: mountInsitu('--exclusive') },
    { name: 'no passthrough', mount: mountByThreads },
    {
      name: 'bindfs',
      debian: 'bindfs',
      mount: command('bindfs', (backing, mountPoint) => [backing, mountPoint]),
    },
    {
      name: 'mergerfs',
      debian: 'mergerfs',
      // Without a page cache nothing could be mapped.
      mount: command('mergerfs', (backing, mountPoint) => [
        '-o',
        'cache.files=auto-full',
        backing,
        mountPoint,
      ]),
    },
    { name: 'gocryptfs', debian: 'gocryptfs', ownStore: true, mount: mountGocryptfs },
    {
      name: 'rclone',
      debian: 'rclone',
      // The first cache mode that can write anywhere in a file.
      mount: command('rclone', (backing, mountPoint) => [
        'mount',
        backing,
        mountPoint,
        '--vfs-cache-mode=writes',
        `--cache-dir=${path.join(scratch, 'rclone-cache')}`,
        '--config=',
        '--daemon',
      ]),
    },
  ]
  if (help.includes('--file-server'))
    list.push({ name: 'fuse-native', mount: mountInsitu('--file-server', 'fuse-native') })
  return list
}

/** Stands for revocable grafts: nothing that may be revoked is handed to the kernel. */
async function mountByThreads(backing: string, mountPoint: string): Promise<void> {
  const server = path.join(root, 'test/support/serve-mount.ts')
  const options = JSON.stringify({ passthrough: false })
  // A group of its own, so that Ctrl-C leaves the unmount to us.
  const child = spawn(process.execPath, [server, backing, mountPoint, options], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
  })
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => Promise.reject(new Error('it ended'))),
  ])
  // It ends when its input does, so with us; we do not wait for it.
  for (const handle of [child, child.stdin, child.stdout])
    (handle as unknown as { unref(): void }).unref()
}

async function mountGocryptfs(backing: string, mountPoint: string): Promise<void> {
  const store = `${mountPoint}-store`
  const password = path.join(path.dirname(backing), 'gocryptfs-password')
  writeFileSync(password, 'bench\n')
  mkdirSync(store)
  const words = ['-q', '-passfile', password]
  await run('gocryptfs', ['-init', '-scryptn', '10', ...words, store])
  await run('gocryptfs', [...words, store, mountPoint], { timeout: MOUNT_TIMEOUT_MS })
}

/** What the command itself said, else that it failed. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string }
  return (stderr || message).trim().split('\n', 1)[0] ?? ''
}
