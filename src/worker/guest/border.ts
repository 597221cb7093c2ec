/**
 * The trusted end of the border to the guest: every call takes strings, numbers or bytes, checks
 * that they are such, and answers with a string. Nothing is thrown across.
 */
import { createHash } from 'node:crypto'
import { closeSync } from 'node:fs'
import ivm from 'isolated-vm'
import { type Host, HostError } from '../host.ts'
import { urlParts, urlWithPart } from './url-parts.ts'

/** No name of the kernel's is longer. */
const PATH_LENGTH = 4_096

function path(value: unknown): string {
  if (typeof value !== 'string' || value.length > PATH_LENGTH) {
    throw new HostError('ENAMETOOLONG', 'the path is too long')
  }
  return value
}

function answer(work: () => string): string {
  try {
    return `=${work()}`
  } catch (error) {
    if (error instanceof HostError) return `!${error.code} ${error.message}`
    return '!EIO the worker failed'
  }
}

/** One run's host, descriptors and entropy. */
export class Border {
  #host: Host | undefined
  #entropy = Buffer.alloc(32)
  readonly #open = new Set<number>()

  attach(host: Host, seed: Uint8Array): void {
    this.#host = host
    this.#entropy = createHash('sha256').update(seed).digest()
  }

  /** Closes what the program left open. */
  detach(): void {
    this.#host = undefined
    for (const fd of this.#open) closeSync(fd)
    this.#open.clear()
  }

  #hostOrRefuse(): Host {
    if (this.#host === undefined) throw new HostError('EIO', 'the run is over')
    return this.#host
  }

  /** An opened input changes what randomness stands on, before the program sees any of it. */
  #mix(name: string, sizeBytes: number, mtimeMs: number): void {
    this.#entropy = createHash('sha256')
      .update(this.#entropy)
      .update(JSON.stringify([name, sizeBytes, mtimeMs]))
      .digest()
  }

  #openInput(name: string): string {
    const file = this.#hostOrRefuse().open(name)
    this.#open.add(file.fd)
    this.#mix(name, file.sizeBytes, file.mtimeMs)
    return `${file.fd} ${file.sizeBytes} ${file.mtimeMs}`
  }

  /** Functions for the isolate, in the order in which the runtime's `install` takes them. */
  callbacks(): ivm.Callback[] {
    const call = (work: (...values: unknown[]) => string): ivm.Callback =>
      new ivm.Callback((...values: unknown[]) => answer(() => work(...values)))
    return [
      call((name) => this.#openInput(path(name))),
      call((fd) => {
        if (typeof fd === 'number' && this.#open.delete(fd)) closeSync(fd)
        return ''
      }),
      call((name) => {
        const { kind, sizeBytes, mtimeMs } = this.#hostOrRefuse().stat(path(name))
        return `${kind} ${sizeBytes} ${mtimeMs}`
      }),
      call((name) =>
        JSON.stringify(
          this.#hostOrRefuse()
            .list(path(name))
            .map((entry) => [entry.name, entry.kind]),
        ),
      ),
      call((name) => {
        if (typeof name !== 'string' || name.length > 255) {
          throw new HostError('EINVAL', 'not a name of a result')
        }
        this.#hostOrRefuse().begin(name)
        return ''
      }),
      call((bytes) => {
        if (!(bytes instanceof Uint8Array)) throw new HostError('EINVAL', 'not bytes')
        this.#hostOrRefuse().write(bytes)
        return ''
      }),
      call((text) => {
        if (typeof text === 'string') this.#hostOrRefuse().log(text)
        return ''
      }),
      call(() => this.#entropy.toString('hex')),
      call((href, base) => urlParts(href, base)),
      call((href, part, value) => urlWithPart(href, part, value)),
    ]
  }
}
