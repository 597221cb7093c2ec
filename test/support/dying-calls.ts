/** Kills a daemon right before its Nth call that changes something. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { preloadedEnvironment } from './preload.ts'

const source = fileURLToPath(new URL('dying-calls.c', import.meta.url))

export class DyingCalls implements Disposable {
  /** For the daemon that is to be killed. */
  readonly env: Record<string, string>
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'insitu-death-'))
  readonly #control: number

  constructor() {
    const library = path.join(this.#folder, 'dying-calls.so')
    const control = path.join(this.#folder, 'control')
    const build = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', library, source]
    execFileSync('cc', build, { stdio: 'inherit' })
    this.#control = openSync(control, 'w+')
    writeSync(this.#control, Buffer.alloc(4096))
    const { LD_PRELOAD = '', NODE_OPTIONS = '' } = preloadedEnvironment(library)
    const NODE_DISABLE_COMPILE_CACHE = '1'
    this.env = { LD_PRELOAD, NODE_OPTIONS, NODE_DISABLE_COMPILE_CACHE, INSITU_TEST_DEATH: control }
  }

  /** It dies before the call number `at`, from 1. */
  arm(at: number): void {
    this.#write(0n, 0n)
    this.#write(BigInt(at), 0n)
  }

  /** How many calls there were since `arm`. */
  disarm(): number {
    const words = new BigInt64Array(2)
    readSync(this.#control, words, 0, words.byteLength, 0)
    this.#write(0n, 0n)
    return Number(words[1])
  }

  #write(...words: bigint[]): void {
    writeSync(this.#control, new BigInt64Array(words), 0, undefined, 0)
  }

  [Symbol.dispose](): void {
    closeSync(this.#control)
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
