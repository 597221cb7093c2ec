/** A volume, a fake sandbox and an engine over fresh directories, and what a test asks of them. */
import { rmSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { DEFAULT_RUN_LIMITS } from '../../src/config/limits.ts'
import { createCompute, type ComputeOptions } from '../../src/compute/index.ts'
import type { Compute } from '../../src/compute/types.ts'
import type {
  DirectoryKey,
  Principal,
  ProgramEntry,
  Publication,
  Volume,
} from '../../src/file-server/types.ts'
import { openVolume } from '../../src/file-server/volume.ts'
import { DirectoryVolume } from '../support/directory-volume.ts'
import { FakeSandbox, type Guest } from '../support/fake-sandbox.ts'

/** Folders of tests that failed before they could remove them. */
const left = new Set<string>()
process.on('exit', () => {
  for (const folder of left) rmSync(folder, { recursive: true, force: true })
})

export const ROOT: Principal = { uid: 0, gid: 0, groups: [] }

/** Remembers what it was told, as a file server. */
export class FakeFileServer {
  readonly programs = new Map<DirectoryKey, ProgramEntry>()
  readonly publications = new Map<DirectoryKey, Publication>()

  setProgram(directory: DirectoryKey, entry: ProgramEntry | undefined): void {
    if (entry === undefined) this.programs.delete(directory)
    else this.programs.set(directory, entry)
  }

  /** There is one tree. */
  watchTrees(): void {}

  publish(directory: DirectoryKey, publication: Publication): void {
    this.publications.set(directory, publication)
  }
}

export class Bench {
  readonly root: string
  readonly volume: Volume
  readonly sandbox: FakeSandbox
  readonly log: string[] = []
  fileServer = new FakeFileServer()
  compute: Compute
  key: DirectoryKey = ''
  readonly #options: Partial<ComputeOptions>

  private constructor(
    root: string,
    guests: Record<string, Guest>,
    options: Partial<ComputeOptions>,
  ) {
    this.root = root
    this.volume = options.volume ?? new DirectoryVolume(path.join(root, 'backing'))
    this.sandbox = new FakeSandbox(guests)
    this.#options = options
    this.compute = this.#create()
  }

  static async make(
    guests: Record<string, Guest>,
    options: Partial<ComputeOptions> = {},
  ): Promise<Bench> {
    return Bench.open(await fs.mkdtemp(path.join(os.tmpdir(), 'insitu-compute-')), guests, options)
  }

  /** Over the product's own volume. */
  static async makeNative(
    guests: Record<string, Guest>,
    options: Partial<ComputeOptions> = {},
  ): Promise<Bench> {
    const root = await fs.mkdtemp(path.join(os.tmpdir(), 'insitu-compute-'))
    await fs.mkdir(path.join(root, 'backing'))
    const volume = await openVolume(path.join(root, 'backing'))
    return Bench.open(root, guests, { ...options, volume })
  }

  /** Over what another process may have left in `root`. */
  static async open(
    root: string,
    guests: Record<string, Guest>,
    options: Partial<ComputeOptions> = {},
  ): Promise<Bench> {
    left.add(root)
    const bench = new Bench(root, guests, options)
    await fs.mkdir(bench.file(''), { recursive: true })
    bench.key = await bench.volume.keyOf('d')
    await bench.compute.start()
    return bench
  }

  #create(): Compute {
    const note = (fields: object, message: string): void => {
      const { err } = fields as { err?: Error }
      this.log.push(err === undefined ? message : `${message}: ${err.message}`)
    }
    return createCompute({
      volume: this.volume,
      fileServer: this.fileServer,
      sandbox: this.sandbox,
      stateDirectory: this.state,
      limits: DEFAULT_RUN_LIMITS,
      tenant: 'test',
      log: { info: note, warn: note, error: note },
      ...this.#options,
    })
  }

  /** Ends the engine as a clean stop does, and starts another over the same state. */
  async restart(): Promise<void> {
    await this.compute.close()
    this.fileServer = new FakeFileServer()
    this.compute = this.#create()
    await this.compute.start()
  }

  get openSessions(): number {
    if (!(this.volume instanceof DirectoryVolume)) throw new Error('this volume does not count')
    return this.volume.openSessions
  }

  get state(): string {
    return path.join(this.root, 'state')
  }

  /** In the directory that programs are attached to. */
  file(name: string): string {
    return path.join(this.root, 'backing', 'd', name)
  }

  async write(name: string, content: string): Promise<void> {
    await fs.writeFile(this.file(name), content)
  }

  async append(name: string, content: string): Promise<void> {
    await fs.appendFile(this.file(name), content)
  }

  stage(source: string, principal: Principal = ROOT) {
    return this.compute.stage(this.key, Buffer.from(source), principal)
  }

  /** Looks, as opening a result does, and reads it from the published folder. */
  async look(name = 'result', signal = new AbortController().signal): Promise<string> {
    await this.compute.resolve(this.key, signal)
    return this.read('current', name)
  }

  /** What the file server was told to serve. */
  async read(which: 'current' | 'last', name = 'result'): Promise<string> {
    const set = this.fileServer.publications.get(this.key)?.[which]
    if (set === undefined) throw new Error(`no ${which} set is published`)
    return fs.readFile(path.join(set.folder, name), 'utf8')
  }

  published(which: 'current' | 'last') {
    return this.fileServer.publications.get(this.key)?.[which]
  }

  get status() {
    const status = this.compute.status(this.key)
    if (status === undefined) throw new Error('there is no program')
    return status
  }

  async end(): Promise<void> {
    await this.compute.close()
    this.volume.close()
    await fs.rm(this.root, { recursive: true, force: true })
    left.delete(this.root)
  }
}

/** The errno name a promise is rejected with; 'none' if it is not. */
export async function errnoOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: NodeJS.ErrnoException) => error.code ?? error.message,
  )
}

/** A door that opens from outside: to hold a guest at a point. */
export function door(): { readonly opened: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

/** Until a condition holds; a test that waits for ever is ended by its deadline. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}
