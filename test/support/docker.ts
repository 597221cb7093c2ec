/**
 * A Docker of a test's own: its daemon with containerd and runc, its storage, an image of busybox. It has no
 * network, and stands in the host's mount namespace, as an installed one does. Ended and removed by `close`.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { exit, type Finished } from './cli.ts'
import { canRunEngine, makeBusyboxImage, unmountBelow } from './engine.ts'
import { until } from './serve-world.ts'

export const IMAGE = 'busybox-of-tests'
const DEADLINE_MS = 60_000
const STOPPING_MS = 15_000

/** False, with a visible word, where there is none; a failure where containers are required. */
export async function canRunDocker(what: string): Promise<boolean> {
  const programs = ['/usr/sbin/dockerd', '/usr/sbin/runc']
  return await canRunEngine(what, programs, 'docker.io', () => Docker.create())
}

export class Docker {
  readonly scratch: string
  readonly #children = new Set<ChildProcess>()
  #daemon: ChildProcess | undefined

  private constructor(scratch: string) {
    this.scratch = scratch
  }

  /** `programs` of the host are in the image too. */
  static async create(programs: readonly string[] = []): Promise<Docker> {
    const docker = new Docker(await mkdtemp(path.join(tmpdir(), 'insitu-docker-')))
    await writeFile(docker.#at('daemon.json'), '{}')
    try {
      await docker.start()
      const archive = await makeBusyboxImage(docker.rootfs, programs)
      const { code, stderr } = await docker.docker(['import', archive, IMAGE])
      if (code !== 0) throw new Error(`no image: ${stderr}`)
    } catch (error) {
      await docker.close()
      throw error
    }
    return docker
  }

  /** What the image is made of. */
  get rootfs(): string {
    return this.#at('rootfs')
  }

  /** With it, `docker` of the path is this one. */
  get env() {
    return { DOCKER_HOST: `unix://${this.#at('docker.sock')}` }
  }

  async start(): Promise<void> {
    const own = [
      ...['--config-file', this.#at('daemon.json'), '--host', this.env.DOCKER_HOST],
      ...['--data-root', this.#at('data'), '--exec-root', this.#at('exec')],
      ...['--pidfile', this.#at('pid'), '--storage-driver', 'vfs', '--log-level', 'error'],
      ...['--bridge', 'none', '--iptables=false', '--ip6tables=false'],
    ]
    const daemon = spawn('/usr/sbin/dockerd', own, { cwd: '/', stdio: 'ignore' })
    this.#daemon = daemon
    await until(async () => {
      if (daemon.exitCode !== null) throw new Error('dockerd ended')
      return (await this.docker(['version'])).code === 0
    })
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const daemon = this.#daemon
    if (daemon === undefined) return
    daemon.kill(signal)
    const late = setTimeout(() => daemon.kill('SIGKILL'), STOPPING_MS)
    await exit(daemon)
    clearTimeout(late)
    this.#daemon = undefined
  }

  async docker(args: readonly string[]): Promise<Finished> {
    const env = { ...process.env, ...this.env }
    return await new Promise((resolve) => {
      execFile('docker', args, { timeout: DEADLINE_MS, cwd: '/', env }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        resolve({ code, stdout, stderr })
      })
    })
  }

  /** `docker run --rm` of a shell script. */
  async run(options: readonly string[], script: string): Promise<Finished> {
    return await this.docker(runArguments(options, script))
  }

  /** A container whose shell is told what to do; ended by `close` at the latest. */
  shell(options: readonly string[]): ChildProcess {
    const words = runArguments(['--interactive', ...options], 'exec sh')
    const env = { ...process.env, ...this.env }
    const child = spawn('docker', words, { cwd: '/', env, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#children.add(child)
    return child
  }

  async close(): Promise<void> {
    if (this.#daemon !== undefined) {
      const { stdout } = await this.docker(['ps', '--all', '--quiet'])
      const all = stdout.trim().split('\n')
      if (stdout.trim() !== '') await this.docker(['rm', '--force', ...all])
    }
    const ended = [...this.#children].map(exit)
    for (const child of this.#children) child.kill('SIGKILL')
    await Promise.all(ended)
    await this.kill('SIGTERM')
    await unmountBelow(this.scratch)
    await rm(this.scratch, { recursive: true, force: true })
  }

  #at(name: string): string {
    return path.join(this.scratch, name)
  }
}

function runArguments(options: readonly string[], script: string): string[] {
  return ['run', '--rm', '--network=none', ...options, IMAGE, 'sh', '-c', script]
}
