/**
 * What the trusted half of the worker offers the guest runtime. All calls are synchronous (blocking
 * on the worker's socket) and made on the main thread. A refusal throws HostError; the runtime turns
 * it into an Error inside the isolate. Only strings, numbers and bytes made by trusted code cross.
 */
export class HostError extends Error {
  override readonly name = 'HostError'
  /** An errno name, as ENOENT. */
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

export interface HostFile {
  /** Readable with pread only; the runtime closes it. */
  readonly fd: number
  readonly sizeBytes: number
  readonly mtimeMs: number
}

export interface Host {
  open(path: string): HostFile
  stat(path: string): {
    kind: 'file' | 'directory' | 'symlink' | 'other'
    sizeBytes: number
    mtimeMs: number
  }
  list(path: string): { name: string; kind: 'file' | 'directory' | 'symlink' | 'other' }[]
  /** Starts a result; throws EEXIST (name taken), EINVAL (bad name), EDQUOT (too many). */
  begin(name: string): void
  /** Appends to the result begun last; throws EFBIG over the run's output bound. Copies `data`. */
  write(data: Uint8Array): void
  /** Console output; the host bounds and drops it. */
  log(text: string): void
}
