/** `dir` and its files: names are resolved and opened by the daemon, bytes are read right here. */
import { answer, host, natives } from './border.ts'
import { compareNames, globWalk } from './glob.ts'
import { readChunks, readLines } from './lines.ts'
import { rekey } from './random.ts'
import {
  Error,
  RangeError,
  SyntaxError,
  TypeError,
  Uint8Array,
  defineProperty,
  floor,
  indexOf,
  isFiniteNumber,
  max,
  min,
  parseJson,
  push,
  record,
  slice,
  sort,
  split,
  subarray,
} from './primordials.ts'

/** V8's longest string; more bytes than this are not tried, so that the refusal comes at once. */
const STRING_BYTES = 2 ** 29 - 24
const CHUNK_BYTES = 256 * 1024
/** A chunk is for bounded memory. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024

/** An open descriptor and a range of it; read up to the size that the file had when it was opened. */
export interface Opened {
  remaining(): number
  read(into: Uint8Array, at: number, length: number): number
  skipByteOrderMark(): void
  close(): void
}

interface Attributes {
  kind: string
  sizeBytes: number
  mtimeMs: number
}

function stat(path: string): Attributes {
  const { 0: kind = '', 1: size, 2: mtime } = split(answer(host.stat(path), path), ' ')
  if (kind !== 'symlink') return { kind, sizeBytes: +(size ?? 0), mtimeMs: +(mtime ?? 0) }
  // A link counts as the file that it leads to.
  const { 0: fd, 1: targetSize, 2: targetMtime } = split(answer(host.open(path), path), ' ')
  host.close(+(fd ?? -1))
  rekey()
  return { kind: 'file', sizeBytes: +(targetSize ?? 0), mtimeMs: +(targetMtime ?? 0) }
}

/** Refusals that mean "not a file for this program", beside those that are worth an error. */
const ABSENT = record({ ENOENT: 1, ENOTDIR: 1, ELOOP: 1, EXDEV: 1, EINVAL: 1 })
const UNREADABLE = record({ ...ABSENT, EACCES: 1, EPERM: 1 })

function isFile(path: string, refusals: object): boolean {
  try {
    return stat(path).kind === 'file'
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' && code in refusals) return false
    throw error
  }
}

export function listDirectory(path: string): [name: string, kind: string][] {
  return parseJson(answer(host.list(path), path)) as [string, string][]
}

function openRange(path: string, from: number, to: number): Opened {
  const { 0: fdText, 1: sizeText } = split(answer(host.open(path), path), ' ')
  rekey()
  const fd = +(fdText ?? -1)
  let position = min(from, +(sizeText ?? 0))
  let end = max(position, min(to, +(sizeText ?? 0)))
  let open = true
  return {
    remaining: () => end - position,
    read(into, at, length) {
      let done = 0
      const wanted = min(length, end - position)
      while (done < wanted) {
        const count = natives.preadInto(fd, into, at + done, wanted - done, position)
        if (count < 0) {
          const error = new Error(`cannot read ${path}`)
          defineProperty(error, 'code', { value: 'EIO', configurable: true, writable: true })
          throw error
        }
        // Cut short since it was opened: what is gone is not waited for.
        if (count === 0) {
          end = position
          break
        }
        done += count
        position += count
      }
      return done
    },
    skipByteOrderMark() {
      if (position !== 0 || end < 3) return
      const start = new Uint8Array(3)
      if (natives.preadInto(fd, start, 0, 3, 0) !== 3) return
      if (start[0] === 0xef && start[1] === 0xbb && start[2] === 0xbf) position = 3
    },
    close() {
      if (open) host.close(fd)
      open = false
    },
  }
}

/** `a/b.txt` below `base`; no way up, out or around. */
function joinPath(base: string, name: unknown, what: string): string {
  if (typeof name !== 'string') throw new TypeError(`${what}: the name must be a string`)
  const parts = split(name, '/')
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]
    if (part === '' || part === '.' || part === '..' || indexOf(name, '\0') >= 0) {
      throw new TypeError(
        `${what}: ${name === '' ? 'the name is empty' : `'${slice(name, 0, 100)}' is not a path below this directory`}`,
      )
    }
  }
  return base === '' ? name : base + '/' + name
}

function baseName(path: string): string {
  const parts = split(path, '/')
  return parts[parts.length - 1] ?? ''
}

export class InputFile {
  readonly name: string
  readonly path: string
  #attributes: Attributes | undefined
  readonly #from: number
  readonly #to: number

  constructor(path: string, from = 0, to = Infinity) {
    this.name = baseName(path)
    this.path = path
    this.#from = from
    this.#to = to
  }

  #stat(): Attributes {
    return (this.#attributes ??= stat(this.path))
  }

  #open(): Opened {
    return openRange(this.path, this.#from, this.#to)
  }

  get size(): number {
    return max(0, min(this.#to, this.#stat().sizeBytes) - this.#from)
  }

  get lastModified(): number {
    return floor(this.#stat().mtimeMs)
  }

  exists(): boolean {
    return isFile(this.path, ABSENT)
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const file = this.#open()
    try {
      return readAll(file)
    } finally {
      file.close()
    }
  }

  text(): string {
    const file = this.#open()
    try {
      file.skipByteOrderMark()
      const size = file.remaining()
      const text = size > STRING_BYTES ? undefined : natives.decodeUtf8(readAll(file))
      if (text === undefined) {
        throw new RangeError(
          `text(): ${this.path} has ${size} bytes, and a string holds ${STRING_BYTES} at most; read it with lines() or chunks()`,
        )
      }
      return text
    } finally {
      file.close()
    }
  }

  json(): unknown {
    const text = this.text()
    try {
      return parseJson(text)
    } catch (error) {
      throw new SyntaxError(`json(): ${this.path}: ${(error as Error).message}`)
    }
  }

  lines(): IterableIterator<string> {
    return readLines(this.path, () => this.#open())
  }

  chunks(sizeBytes: number = CHUNK_BYTES): IterableIterator<Uint8Array<ArrayBuffer>> {
    if (!(sizeBytes >= 1 && sizeBytes <= MAX_CHUNK_BYTES)) {
      throw new RangeError(`chunks(): the size must be from 1 to ${MAX_CHUNK_BYTES} bytes`)
    }
    return readChunks(() => this.#open(), floor(sizeBytes))
  }

  /** As Blob.slice: a view of a range, which opens nothing. */
  slice(start = 0, end = Infinity): InputFile {
    const relative = start < 0 || end < 0 ? this.size : 0
    const clamp = (at: number): number => max(0, at < 0 ? relative + at : at)
    const whole = (at: number): number => (isFiniteNumber(at) ? floor(at) : at > 0 ? at : 0)
    const from = min(this.#to, this.#from + clamp(whole(start)))
    const to = max(from, min(this.#to, this.#from + clamp(whole(end))))
    return new InputFile(this.path, from, to)
  }
}

function readAll(file: Opened): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(file.remaining())
  const count = file.read(bytes, 0, bytes.length)
  return count === bytes.length ? bytes : (subarray(bytes, 0, count) as typeof bytes)
}

export class InputDirectory {
  readonly name: string
  readonly path: string

  constructor(path: string) {
    this.name = baseName(path)
    this.path = path
  }

  #matching(glob: unknown, what: 'files' | 'dirs'): string[] {
    if (typeof glob !== 'string') throw new TypeError(`${what}(): the pattern must be a string`)
    const base = this.path
    const found = globWalk(
      glob,
      (below) => listDirectory(base === '' || below === '' ? base + below : `${base}/${below}`),
      (path, kind) => {
        if (what === 'dirs') return kind === 'directory'
        if (kind !== 'symlink') return kind === 'file'
        return isFile(base === '' ? path : `${base}/${path}`, UNREADABLE)
      },
    )
    return sort(found, compareNames)
  }

  files(glob: string = '*'): InputFile[] {
    const paths = this.#matching(glob, 'files')
    const files: InputFile[] = []
    for (let i = 0; i < paths.length; i++) push(files, this.file(paths[i] as string))
    return files
  }

  dirs(glob: string = '*'): InputDirectory[] {
    const paths = this.#matching(glob, 'dirs')
    const dirs: InputDirectory[] = []
    for (let i = 0; i < paths.length; i++) push(dirs, this.dir(paths[i] as string))
    return dirs
  }

  /** Names of everything in it, files or not. */
  names(): string[] {
    const entries = listDirectory(this.path)
    const names: string[] = []
    for (let i = 0; i < entries.length; i++) push(names, (entries[i] as [string, string])[0])
    return sort(names, compareNames)
  }

  file(name: string): InputFile {
    return new InputFile(joinPath(this.path, name, 'file()'))
  }

  dir(name: string): InputDirectory {
    return new InputDirectory(joinPath(this.path, name, 'dir()'))
  }
}
