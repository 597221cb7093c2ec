/** A `Host` over a plain directory: no jail, no rights, no recording. Keeps results and log. */
import { closeSync, fstatSync, lstatSync, openSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { HostError, type Host } from '../../src/worker/host.ts'

type Kind = 'file' | 'directory' | 'symlink' | 'other'

export interface DirectoryHost extends Host {
  readonly results: Map<string, Uint8Array>
  readonly logged: string
}

function kindOf(entry: {
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
}): Kind {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  return entry.isSymbolicLink() ? 'symlink' : 'other'
}

function refusal(error: unknown): HostError {
  const { code, message } = error as NodeJS.ErrnoException
  return new HostError(code ?? 'EIO', message)
}

export function directoryHost(
  root: string,
  bounds: { outputBytes?: number; resultFiles?: number } = {},
): DirectoryHost {
  const { outputBytes = Infinity, resultFiles = Infinity } = bounds
  const results = new Map<string, Uint8Array[]>()
  let current: Uint8Array[] | undefined
  let written = 0
  let logged = ''
  return {
    open(path) {
      let fd: number
      try {
        fd = openSync(join(root, path), 'r')
      } catch (error) {
        throw refusal(error)
      }
      const stat = fstatSync(fd)
      if (!stat.isFile()) {
        closeSync(fd)
        throw new HostError('EINVAL', `${path} is not a regular file`)
      }
      return { fd, sizeBytes: stat.size, mtimeMs: stat.mtimeMs }
    },
    stat(path) {
      try {
        const link = lstatSync(join(root, path))
        const stat = link.isSymbolicLink() ? statSync(join(root, path)) : link
        return { kind: kindOf(link), sizeBytes: stat.size, mtimeMs: stat.mtimeMs }
      } catch (error) {
        throw refusal(error)
      }
    },
    list(path) {
      try {
        return readdirSync(join(root, path), { withFileTypes: true }).map((entry) => ({
          name: entry.name,
          kind: kindOf(entry),
        }))
      } catch (error) {
        throw refusal(error)
      }
    },
    begin(name) {
      if (results.has(name)) throw new HostError('EEXIST', `there is a result ${name} already`)
      if (results.size >= resultFiles) {
        throw new HostError('EDQUOT', `more than ${resultFiles} results`)
      }
      results.set(name, (current = []))
    },
    write(data) {
      if (current === undefined) throw new Error('write before begin')
      written += data.length
      if (written > outputBytes) {
        throw new HostError('EFBIG', `more than ${outputBytes} bytes of results`)
      }
      current.push(Uint8Array.from(data))
    },
    log(text) {
      logged += text
    },
    get results() {
      return new Map([...results].map(([name, pieces]) => [name, Buffer.concat(pieces)]))
    },
    get logged() {
      return logged
    },
  }
}
