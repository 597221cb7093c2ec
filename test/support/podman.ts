/**
 * A podman of a test's own: its storage, its configuration, an image of busybox. Containers run
 * as root of the host in a mount namespace whose propagation is kept, so that mounts of a daemon outside
 * are seen in them. Everything is ended and removed by `close`.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { exit, type Finished } from './cli.ts'
import { canRunEngine, makeBusyboxImage, unmountBelow } from './engine.ts'

export const IMAGE = 'localhost/busybox'
const DEADLINE_MS = 60_000
/** On a machine of both versions podman takes the second cgroup tree for the only one. */
const BEFORE =
  'if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec "$@"'
/** What podman asks for by itself can be above what the test may have. */
const LIMITS = 'default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]'

/** False, with a visible word, where there is none; a failure where containers are required. */
export async function canRunContainers(what: string): Promise<boolean> {
  return await canRunEngine(what, ['/usr/bin/podman'], 'podman, crun', () => Podman.create())
}

/** A container tool where it finds one version of control groups. */
export function withoutUnified(command: string, args: readonly string[]) {
  const all = ['-m', '--propagation', 'unchanged', 'sh', '-c', BEFORE, 'sh', command, ...args]
  return { command: 'unshare', all }
}

export class Podman {
  readonly scratch: string
  readonly #children = new Set<ChildProcess>()

  private constructor(scratch: string) {
    this.scratch = scratch
  }

  /** `plugins`: names of volume plugins and their sockets. `programs` of the host are in the image too. */
  static async create(
    plugins: Readonly<Record<string, string>> = {},
    programs: readonly string[] = [],
  ): Promise<Podman> {
    const podman = new Podman(await mkdtemp(path.join(tmpdir(), 'insitu-podman-')))
    const lines = Object.entries(plugins).map(([name, socket]) => `${name} = "${socket}"`)
    await writeFile(
      podman.configuration,
      [
        ...['[containers]', LIMITS, '[engine]', 'cgroup_manager = "cgroupfs"'],
        ...['events_logger = "none"', '[engine.volume_plugins]', ...lines, ''],
      ].join('\n'),
    )
    await podman.#makeImage(programs)
    return podman
  }

  /** What the image is made of. */
  get rootfs(): string {
    return path.join(this.scratch, 'rootfs')
  }

  get configuration(): string {
    return path.join(this.scratch, 'containers.conf')
  }

  async podman(args: readonly string[]): Promise<Finished> {
    const { command, all, env } = this.commandOf(args)
    return await new Promise((resolve) => {
      execFile(command, all, { timeout: DEADLINE_MS, cwd: '/', env }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        resolve({ code, stdout, stderr })
      })
    })
  }

  /** `podman run --rm` of a shell script. */
  async run(options: readonly string[], script: string): Promise<Finished> {
    return await this.podman(this.#runArguments(options, script))
  }

  /** A container that goes on; ended by `close` at the latest. */
  start(options: readonly string[], script: string): ChildProcess {
    const { command, all, env } = this.commandOf(
      this.#runArguments(['--interactive', ...options], script),
    )
    const child = spawn(command, all, { cwd: '/', env, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.add(child)
    return child
  }

  /** Not `--rootfs`: with that podman 4.3 never unmounts its volumes. */
  async #makeImage(programs: readonly string[]): Promise<void> {
    const archive = await makeBusyboxImage(this.rootfs, programs)
    const { code, stderr } = await this.podman(['import', '--quiet', archive, IMAGE])
    if (code !== 0) throw new Error(`no image: ${stderr}`)
  }

  /** A folder with a `podman` that is this one, for the path of a script. */
  async wrapper(): Promise<string> {
    const bin = path.join(this.scratch, 'bin')
    await mkdir(bin, { recursive: true })
    const { command, all } = this.commandOf([])
    const words = [command, ...all].map((word) => `'${word}'`).join(' ')
    const script = `#!/bin/sh\nCONTAINERS_CONF=${this.configuration} PATH=/usr/bin:/bin exec ${words} "$@"\n`
    await writeFile(path.join(bin, 'podman'), script, { mode: 0o755 })
    return bin
  }

  /** As it is called, for who has another use of it. */
  commandOf(args: readonly string[]) {
    const own = ['--root', path.join(this.scratch, 'root')]
    own.push('--runroot', path.join(this.scratch, 'runroot'), '--tmpdir')
    own.push(path.join(this.scratch, 'tmp'), '--log-level', 'error')
    return {
      ...withoutUnified('podman', [...own, ...args]),
      env: { ...process.env, CONTAINERS_CONF: this.configuration },
    }
  }

  async close(): Promise<void> {
    await this.podman(['rm', '--all', '--force', '--time', '0'])
    const ended = [...this.#children].map(exit)
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(ended)
    await unmountBelow(this.scratch)
    await rm(this.scratch, { recursive: true, force: true })
  }

  #runArguments(options: readonly string[], script: string): string[] {
    return ['run', '--rm', '--network=none', ...options, IMAGE, 'sh', '-c', script]
  }
}
