/** What tests with container engines share: whether they can run, an image of busybox, what is left mounted. */
import { execFile } from 'node:child_process'
import { access, chmod, constants, cp, mkdir, symlink } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { readMountTable } from '../../src/file-server/mount-table.ts'
import { canMount, type Finished } from './cli.ts'

const exec = promisify(execFile)

const BUSYBOX = '/bin/busybox'

interface Trial {
  run(options: readonly string[], script: string): Promise<Finished>
  close(): Promise<void>
}

/**
 * False, with a visible word, where one of `programs` is missing or no container runs with `create`, as within some
 * containers; a failure where containers are required.
 */
export async function canRunEngine(
  what: string,
  programs: readonly string[],
  packages: string,
  create: () => Promise<Trial>,
): Promise<boolean> {
  if (!(await canMount(what))) return false
  const why = (await missing(programs))
    ? `${what} need ${packages} and busybox-static`
    : await faultOf(create).then((fault) => fault && `${what}: no container runs here: ${fault}`)
  if (why === undefined) return true
  if (process.env['REQUIRE_CONTAINERS'] === '1') throw new Error(why)
  console.log(`SKIP ${why}`)
  return false
}

async function missing(programs: readonly string[]): Promise<boolean> {
  const found = await Promise.allSettled(
    [...programs, BUSYBOX].map((file) => access(file, constants.X_OK)),
  )
  return found.some(({ status }) => status === 'rejected')
}

async function faultOf(create: () => Promise<Trial>): Promise<string | undefined> {
  try {
    const trial = await create()
    try {
      const { stdout, stderr } = await trial.run([], 'echo it runs')
      return stdout === 'it runs\n' ? undefined : stderr || 'it said nothing'
    } finally {
      await trial.close()
    }
  } catch (error) {
    return String(error)
  }
}

/** Makes `rootfs` and, beside it, an archive of it, whose path is what it resolves with. */
export async function makeBusyboxImage(
  rootfs: string,
  programs: readonly string[] = [],
): Promise<string> {
  for (const folder of ['bin', 'proc', 'sys', 'dev', 'etc', 'tmp', 'run'])
    await mkdir(path.join(rootfs, folder), { recursive: true })
  await cp(BUSYBOX, path.join(rootfs, 'bin/busybox'))
  for (const applet of ['sh', 'ls', 'cat', 'cp', 'sleep', 'wget', 'nc', 'tail'])
    await symlink('busybox', path.join(rootfs, 'bin', applet))
  for (const file of await withLibraries(programs)) {
    await mkdir(path.join(rootfs, path.dirname(file)), { recursive: true })
    await cp(file, path.join(rootfs, file), { dereference: true })
  }
  await chmod(path.join(rootfs, 'tmp'), 0o1777)
  const archive = `${rootfs}.tar`
  await exec('tar', ['-C', rootfs, '-cf', archive, '.'])
  return archive
}

/** With what the dynamic linker loads for them. */
async function withLibraries(programs: readonly string[]): Promise<string[]> {
  const all = new Set(programs)
  for (const program of programs) {
    const { stdout } = await exec('ldd', [program])
    for (const [, file = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) all.add(file)
  }
  return [...all]
}

/** What an engine that ended left mounted in its own folder. */
export async function unmountBelow(folder: string): Promise<void> {
  const left = (await readMountTable()).map(({ mountPoint }) => mountPoint)
  for (const place of left.toReversed())
    if (place.startsWith(`${folder}/`))
      await new Promise((resolve) => execFile('umount', ['-l', place], resolve))
}
