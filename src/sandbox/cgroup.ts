/**
 * A memory cgroup for each worker, where this process may make one: it also counts what no other bound
 * sees (page tables, sockets, files in memory). Everything here is best effort; the other bounds hold
 * without it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const PREFIX = 'insitu-'

interface Hierarchy {
  /** Our own group's folder. */
  readonly folder: string
  readonly limitFile: 'memory.max' | 'memory.limit_in_bytes'
}

export class Cgroup {
  readonly #folder: string
  readonly #limitFile: string

  private constructor(folder: string, limitFile: string) {
    this.#folder = folder
    this.#limitFile = limitFile
  }

  /** A group for the worker of that slot, without a limit yet; undefined where there cannot be one. */
  static make(slot: number): Cgroup | undefined {
    hierarchy ??= findHierarchy() ?? 'none'
    if (hierarchy === 'none') return undefined
    const { folder, limitFile } = hierarchy
    const own = path.join(folder, `${PREFIX}${process.pid}-${slot}`)
    try {
      mkdirSync(own)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return undefined
    }
    return existsSync(path.join(own, limitFile)) ? new Cgroup(own, limitFile) : undefined
  }

  /** What it holds from now on counts; what it held before does not. */
  add(pid: number): void {
    this.#write('cgroup.procs', pid)
  }

  limit(bytes: number): void {
    this.#write(this.#limitFile, bytes)
  }

  /** Once its process is gone. */
  remove(): void {
    try {
      rmdirSync(this.#folder)
    } catch {
      // Left to the next daemon.
    }
  }

  #write(name: string, value: number): void {
    try {
      writeFileSync(path.join(this.#folder, name), String(value))
    } catch {
      // As if there were no cgroups.
    }
  }
}

let hierarchy: Hierarchy | 'none' | undefined

/** Version 1's memory hierarchy, or the one of version 2 if it hands memory on to its children. */
function findHierarchy(): Hierarchy | undefined {
  for (const line of read('/proc/self/cgroup').split('\n')) {
    const [, controllers, group] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || group === undefined) continue
    const v1 = controllers.split(',').includes('memory')
    if (!v1 && controllers !== '') continue
    const folder = path.join(v1 ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup', group)
    const usable = v1
      ? existsSync(path.join(folder, 'memory.limit_in_bytes'))
      : read(path.join(folder, 'cgroup.subtree_control')).split(/\s/).includes('memory')
    if (!usable) continue
    sweep(folder)
    return { folder, limitFile: v1 ? 'memory.limit_in_bytes' : 'memory.max' }
  }
  return undefined
}

/** Groups of daemons that were killed; one in use cannot be removed. */
function sweep(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-\\d+$`).exec(name)?.[1]
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue
    try {
      rmdirSync(path.join(folder, name))
    } catch {
      // Not ours to remove.
    }
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
