/** Makes the Nth call to the backing filesystem fail in a process that serves a mount. */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readSync, rmSync, mkdtempSync, writeSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('failing-calls.c', import.meta.url))

export class FailingCalls implements Disposable {
  readonly library: string
  readonly #folder: string
  readonly #control: number

  /** Servers that are started from now on, with `library` preloaded, are steered by this. */
  constructor() {
    this.#folder = mkdtempSync(path.join(tmpdir(), 'insitu-faults-'))
    this.library = path.join(this.#folder, 'failing-calls.so')
    const control = path.join(this.#folder, 'control')
    const build = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', this.library, source]
    execFileSync('cc', build, { stdio: 'inherit' })
    this.#control = openSync(control, 'w+')
    writeSync(this.#control, Buffer.alloc(4096))
    process.env['INSITU_TEST_FAULTS'] = control
  }

  /** From now on the call number `at` (from 1) fails; with `always`, so do all that follow. */
  arm(at: number, code: 'EIO' | 'ENOSPC' | 'ENOMEM' | 'EMFILE' = 'EIO', always = false): void {
    this.#write(0n, 0n, 0n, 0n)
    this.#write(BigInt(constants.errno[code]), BigInt(at), always ? 1n : 0n, 0n)
  }

  /** Returns how many calls there were since `arm`. */
  disarm(): number {
    const words = new BigInt64Array(4)
    readSync(this.#control, words, 0, words.byteLength, 0)
    this.#write(0n, 0n, 0n, 0n)
    return Number(words[3])
  }

  #write(...words: bigint[]): void {
    writeSync(this.#control, new BigInt64Array(words), 0, undefined, 0)
  }

  [Symbol.dispose](): void {
    closeSync(this.#control)
    delete process.env['INSITU_TEST_FAULTS']
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
