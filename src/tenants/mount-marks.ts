/**
 * Which mounts of ours are in a container, by their targets: the numbers that the kernel gave them, and gives no other
 * mount until the next boot. So what a killed daemon left is found also where somebody moved it in there.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Logger } from '../telemetry/log.ts'

export class MountMarks {
  readonly #folder: string
  readonly #log: Logger
  /** By the names of their files. */
  readonly #left = new Map<string, string>()
  /** One after the other; nobody waits for the disk. */
  #work: Promise<void> = Promise.resolve()

  constructor(folder: string, log: Logger) {
    this.#folder = folder
    this.#log = log
  }

  /** Reads what an earlier daemon left. */
  async open(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(this.#folder)) {
      const mount = await readFile(path.join(this.#folder, name), 'utf8')
      if (/^[0-9a-f]{64}$/.test(name) && /^[1-9]\d{0,19}$/.test(mount)) this.#left.set(name, mount)
    }
  }

  /** What an earlier daemon put at that target, once. */
  takeLeft(target: string): string | undefined {
    const name = nameOf(target)
    const mount = this.#left.get(name)
    this.#left.delete(name)
    return mount
  }

  note(target: string, mount: string): void {
    const place = path.join(this.#folder, nameOf(target))
    this.#then(async () => {
      await writeFile(`${place}.new`, mount, { mode: 0o600 })
      await rename(`${place}.new`, place)
    })
  }

  strike(target: string): void {
    this.#then(() => rm(path.join(this.#folder, nameOf(target)), { force: true }))
  }

  /** All is written. */
  async close(): Promise<void> {
    await this.#work
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      this.#log.warn({ err: error }, 'a mount in a container is not known after a crash')
    })
  }
}

/** Targets are longer than names may be. */
function nameOf(target: string): string {
  return createHash('sha256').update(target).digest('hex')
}
