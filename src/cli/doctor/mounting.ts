/** The device, fusermount3, and what a probe mount negotiates with the kernel. */
import { access, mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { constants } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DEFAULT_RESERVED_NAMES } from '../../config/limits.ts'
import { VfsError } from '../../errors.ts'
import type { Negotiated } from '../../file-server/types.ts'
import { hasSetuidFusermount } from '../preflight.ts'
import { missing, note, ok, type Finding } from './finding.ts'

const CANNOT_MOUNT = 'nothing can be mounted; "insitu run" works without'

export async function mountChecks(): Promise<Finding[]> {
  const findings = [await device()]
  const fusermount = await hasSetuidFusermount(process.env['PATH'] ?? '')
  if (process.getuid?.() !== 0) findings.push(helper(fusermount))
  if (findings.some(({ status }) => status === 'missing')) return findings
  return [...findings, ...(await probe()), await fallback()]
}

async function device(): Promise<Finding> {
  const info = await stat('/dev/fuse').catch(() => undefined)
  if (info === undefined || !info.isCharacterDevice())
    return missing(
      '/dev/fuse',
      'it is not there',
      CANNOT_MOUNT,
      'modprobe fuse as root; in a container, give it the device (--device /dev/fuse)',
    )
  const mode = (info.mode & 0o777).toString(8).padStart(4, '0')
  const usable = await access('/dev/fuse', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  )
  if (!usable)
    return missing(
      '/dev/fuse',
      `mode ${mode}, not yours to open`,
      CANNOT_MOUNT,
      'run as root, or chmod 0666 /dev/fuse as root (a udev rule makes it last)',
    )
  return (info.mode & 0o006) === 0o006
    ? ok('/dev/fuse', `mode ${mode}`)
    : note(
        '/dev/fuse',
        `mode ${mode}`,
        'root can mount, other users cannot',
        'chmod 0666 /dev/fuse, if they shall',
      )
}

function helper(there: boolean): Finding {
  return there
    ? ok('fusermount3', 'setuid root, on the path')
    : missing('fusermount3', 'none that is setuid root', CANNOT_MOUNT, 'install the package fuse3')
}

interface Probed {
  readonly negotiated: Negotiated
  unmount(): Promise<void>
}

/** A real mount of an empty folder says more than any list of versions. */
async function tryMount(
  mount: (backing: string, mountPoint: string) => Promise<Probed>,
): Promise<Negotiated> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'insitu-doctor-'))
  try {
    const [backing, mountPoint] = [path.join(scratch, 'files'), path.join(scratch, 'mount')]
    await mkdir(backing)
    await mkdir(mountPoint)
    const server = await mount(backing, mountPoint)
    await server.unmount()
    return server.negotiated
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function probe(): Promise<Finding[]> {
  try {
    return describe(
      await tryMount(async (backing, mountPoint) => {
        const { mountNative } = await import('../../file-server/native.ts')
        return await mountNative({
          backing,
          mountPoint,
          exclusive: false,
          allowOther: false,
          listReserved: false,
          sharedBacking: false,
          reserved: DEFAULT_RESERVED_NAMES,
          handler: () => Promise.reject(new VfsError('ENOSYS', 'a probe serves no virtual files')),
          onNotice: () => {},
        })
      }),
    )
  } catch (error) {
    return [
      missing(
        'probe mount',
        reasonOf(error),
        CANNOT_MOUNT,
        'in a container, allow mounts (CAP_SYS_ADMIN)',
      ),
    ]
  }
}

/** Nobody needs it where the native file server works. */
async function fallback(): Promise<Finding> {
  try {
    const { protocol } = await tryMount(async (backing, mountPoint) => {
      const { mountOrdinaryFiles } = await import('../../file-server/fuse-native/ordinary-only.ts')
      const reserved = DEFAULT_RESERVED_NAMES
      return await mountOrdinaryFiles({ backing, mountPoint, reserved, onNotice: () => {} })
    })
    return ok('fuse-native', `FUSE ${protocol}: --file-server fuse-native can stand in`)
  } catch (error) {
    return note(
      'fuse-native',
      reasonOf(error),
      'there is no other file server to fall back on: only the native one',
    )
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function describe(negotiated: Negotiated): Finding[] {
  const { protocol, threads, maxWriteBytes, flags, passthrough, passthroughReason } = negotiated
  return [
    ok(
      'negotiated',
      `FUSE ${protocol}, ${threads} threads, requests of ${maxWriteBytes / 1024} KiB; ${flags.join(' ')}`,
    ),
    passthrough
      ? ok('passthrough', 'on: the kernel reads and writes the backing files itself')
      : note('passthrough', `off: ${passthroughReason}`, 'data goes through our threads: slower'),
  ]
}
