/**
 * Loop devices as the kernel shows them in /sys: which file one has, and which device a mounted
 * filesystem is on. Nothing here opens a device, so nothing here can keep one.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'

const LOOP_MAJOR = 7n

/**
 * Whether the filesystem of that file is what is mounted at `point`: `nothing` is, `other` is, or
 * `ours`. ENOENT and the like are thrown.
 */
export async function mountedAt(
  point: string,
  file: string,
): Promise<'nothing' | 'other' | 'ours'> {
  const [at, around] = await Promise.all([
    stat(point, { bigint: true }),
    stat(path.dirname(point), { bigint: true }),
  ])
  if (at.dev === around.dev) return 'nothing'
  const { major, minor } = numbers(at.dev)
  if (major !== LOOP_MAJOR) return 'other'
  return (await backingFile(`/sys/dev/block/${major}:${minor}`)) === file ? 'ours' : 'other'
}

/** As of a mount that somebody took away lazily: it lives as long as something of it is open. */
export async function deviceOf(file: string): Promise<string | undefined> {
  for (const name of await readdir('/sys/block'))
    if (/^loop\d+$/.test(name) && (await backingFile(`/sys/block/${name}`)) === file)
      return `/dev/${name}`
  return undefined
}

/** One whose file was removed says so behind its name, and is nobody's. */
async function backingFile(block: string): Promise<string | undefined> {
  const text = await readFile(`${block}/loop/backing_file`, 'utf8').catch(() => undefined)
  return text?.replace(/\n$/, '')
}

/** glibc's gnu_dev_major and gnu_dev_minor. */
function numbers(dev: bigint): { major: bigint; minor: bigint } {
  return {
    major: ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn),
    minor: (dev & 0xffn) | ((dev >> 12n) & ~0xffn),
  }
}
