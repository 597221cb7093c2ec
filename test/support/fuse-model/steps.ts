/** Random steps for differential tests, and what a directory tree makes of each of them. */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'

export type Step =
  | { do: 'mkdir'; at: string; mode: number }
  | { do: 'rmdir' | 'unlink' | 'read' | 'list' | 'stat' | 'readlink'; at: string }
  | { do: 'write'; at: string; flags: number; mode: number; offset: number; size: number }
  | { do: 'truncate'; at: string; size: number }
  | { do: 'rename' | 'link'; at: string; to: string }
  | { do: 'symlink'; at: string; target: string }
  | { do: 'chmod'; at: string; mode: number }
  | { do: 'chown'; at: string; uid: number; gid: number }
  | { do: 'utimes'; at: string; seconds: number }
  | { do: 'hold'; slot: number; at: string; flags: number }
  | { do: 'heldWrite'; slot: number; offset: number; size: number }
  | { do: 'heldTruncate'; slot: number; size: number }
  | { do: 'heldRead' | 'heldStat' | 'drop'; slot: number }

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = fs.constants

// Few names, so that steps meet; a few odd ones.
const name = fc.oneof(
  { weight: 20, arbitrary: fc.constantFrom('a', 'b', 'c') },
  { weight: 1, arbitrary: fc.constantFrom('é\n\\ ,', '.d', 'x'.repeat(255), 'x'.repeat(256)) },
)
const at = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join('/'))
const mode = fc.constantFrom(0o644, 0o755, 0o600, 0o1777, 0o4755, 0o2775, 0)
const offset = fc.constantFrom(0, 1, 100, 4095, 4096, 70_000)
const size = fc.constantFrom(0, 1, 7, 4096, 5000, 140_000)
const slot = fc.nat(2)
const flags = fc.constantFrom(
  O_WRONLY | O_CREAT | O_TRUNC,
  O_WRONLY | O_CREAT | O_APPEND,
  O_RDWR | O_CREAT | O_EXCL,
  O_RDWR | O_CREAT,
  O_RDWR,
  O_WRONLY | O_TRUNC,
)

function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: record({ do: fc.constant('mkdir'), at, mode }) },
  { weight: 6, arbitrary: record({ do: fc.constant('write'), at, flags, mode, offset, size }) },
  { weight: 2, arbitrary: record({ do: fc.constantFrom('rmdir', 'unlink'), at }) },
  {
    weight: 3,
    arbitrary: record({ do: fc.constantFrom('read', 'list', 'stat', 'readlink'), at }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant('truncate'), at, size }) },
  { weight: 5, arbitrary: record({ do: fc.constantFrom('rename', 'link'), at, to: at }) },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant('symlink'),
      at,
      target: fc.constantFrom('a', '../b', 'nowhere', '.'),
    }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant('chmod'), at, mode }) },
  {
    weight: 1,
    arbitrary: record({
      do: fc.constant('chown'),
      at,
      uid: fc.constantFrom(0, 1234),
      gid: fc.constantFrom(0, 99),
    }),
  },
  { weight: 1, arbitrary: record({ do: fc.constant('utimes'), at, seconds: fc.nat(2 ** 31) }) },
  {
    weight: 2,
    arbitrary: record({
      do: fc.constant('hold'),
      slot,
      at,
      flags: fc.oneof(flags, fc.constantFrom(O_RDONLY, O_RDONLY | O_DIRECTORY)),
    }),
  },
  { weight: 2, arbitrary: record({ do: fc.constant('heldWrite'), slot, offset, size }) },
  { weight: 1, arbitrary: record({ do: fc.constant('heldTruncate'), slot, size }) },
  {
    weight: 3,
    arbitrary: record({ do: fc.constantFrom('heldRead', 'heldStat', 'drop'), slot }),
  },
)

export const steps: fc.Arbitrary<Step[]> = fc.array(step, {
  minLength: 1,
  maxLength: 60,
  size: 'max',
})

/** One tree on which steps are taken. */
export class Walker {
  readonly #root: string
  readonly #held = new Map<number, number>()

  constructor(root: string) {
    this.#root = root
    fs.mkdirSync(root)
  }

  /** What came of it: a value, or the errno's name. */
  take(step: Step): string {
    try {
      return String((this.#take(step) as string | number | undefined) ?? 'ok')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === undefined) throw error
      return code
    }
  }

  /** Everything that can be seen, a line an entry; times and sizes of directories left out. */
  see(): string[] {
    const lines: string[] = []
    const firstNames = new Map<number, string>()
    const look = (at: string): void => {
      const file = path.join(this.#root, at)
      const stats = fs.lstatSync(file)
      const first = firstNames.get(stats.ino) ?? at
      firstNames.set(stats.ino, first)
      lines.push(
        `${JSON.stringify(at)} ${describe(stats)} is ${JSON.stringify(first)} ${body(file, stats)}`,
      )
      if (stats.isDirectory())
        for (const each of fs.readdirSync(file).toSorted()) look(path.join(at, each))
    }
    look('')
    return lines
  }

  close(): void {
    for (const fd of this.#held.values()) fs.closeSync(fd)
    this.#held.clear()
    fs.rmSync(this.#root, { recursive: true })
  }

  #take(step: Step): unknown {
    const file = 'at' in step ? path.join(this.#root, step.at) : ''
    switch (step.do) {
      case 'mkdir':
        return fs.mkdirSync(file, step.mode)
      case 'rmdir':
        return fs.rmdirSync(file)
      case 'unlink':
        return fs.unlinkSync(file)
      case 'read':
        return digest(fs.readFileSync(file))
      case 'list':
        return fs.readdirSync(file).toSorted().join('|')
      case 'stat':
        return describe(fs.statSync(file))
      case 'readlink':
        return fs.readlinkSync(file)
      case 'write': {
        const fd = fs.openSync(file, step.flags, step.mode)
        try {
          return fs.writeSync(fd, bytes(step.size), 0, step.size, step.offset)
        } finally {
          fs.closeSync(fd)
        }
      }
      case 'truncate':
        return fs.truncateSync(file, step.size)
      case 'rename':
        return fs.renameSync(file, path.join(this.#root, step.to))
      case 'link':
        return fs.linkSync(file, path.join(this.#root, step.to))
      case 'symlink':
        return fs.symlinkSync(step.target, file)
      case 'chmod': {
        // A setid bit younger than a descriptor goes at root's write through it, on a mount alone
        // (docs/files.md, the differences).
        const mode = this.#held.size > 0 ? step.mode & 0o1777 : step.mode
        return fs.chmodSync(file, mode)
      }
      case 'chown':
        return fs.lchownSync(file, step.uid, step.gid)
      case 'utimes':
        fs.utimesSync(file, step.seconds, step.seconds)
        return fs.statSync(file).mtimeMs
      case 'hold': {
        const fd = fs.openSync(file, step.flags, 0o644)
        this.#drop(step.slot)
        this.#held.set(step.slot, fd)
        return 'held'
      }
      default:
        return this.#withHeld(step)
    }
  }

  #withHeld(step: Extract<Step, { slot: number }>): unknown {
    const fd = this.#held.get(step.slot)
    if (fd === undefined) return 'nothing held'
    switch (step.do) {
      case 'heldWrite':
        return fs.writeSync(fd, bytes(step.size), 0, step.size, step.offset)
      case 'heldTruncate':
        return fs.ftruncateSync(fd, step.size)
      case 'heldRead': {
        const content = Buffer.alloc(300_000)
        return digest(content.subarray(0, fs.readSync(fd, content, 0, content.length, 0)))
      }
      case 'heldStat':
        return describe(fs.fstatSync(fd))
      default:
        return this.#drop(step.slot)
    }
  }

  #drop(slot: number): void {
    const fd = this.#held.get(slot)
    if (fd !== undefined) fs.closeSync(fd)
    this.#held.delete(slot)
  }
}

function describe(stats: fs.Stats): string {
  const size = stats.isDirectory() ? '' : ` size ${stats.size}`
  return `${stats.mode.toString(8)} ${stats.uid}:${stats.gid} links ${stats.nlink}${size}`
}

function body(file: string, stats: fs.Stats): string {
  if (stats.isSymbolicLink()) return fs.readlinkSync(file)
  return stats.isFile() ? digest(fs.readFileSync(file)) : ''
}

function digest(content: Buffer): string {
  return createHash('sha1').update(content).digest('hex').slice(0, 12)
}

function bytes(size: number): Buffer {
  return Buffer.alloc(size, `${size} and on `)
}
