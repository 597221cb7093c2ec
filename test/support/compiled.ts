/** Test programs in C++, compiled for the time of a test file. */
import { execFileSync } from 'node:child_process'
import { globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export class Compiled {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'insitu-compiled-'))

  /** Compiles all sources in a folder; gives the program's path. */
  build(sources: string): string {
    const program = path.join(this.#folder, path.basename(sources))
    execFileSync('g++', [
      '-std=c++20',
      '-D_GNU_SOURCE',
      '-O1',
      '-Wno-unused-result',
      ...globSync('*.cc', { cwd: sources }).map((file) => path.join(sources, file)),
      '-o',
      program,
    ])
    return program
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
