/** A filesystem in a file, for the time of a test: one that can be filled, remounted, taken away. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export class DiskImage implements Disposable {
  /** Where it is mounted. */
  readonly folder: string
  readonly #scratch: string

  private constructor(scratch: string) {
    this.#scratch = scratch
    this.folder = path.join(scratch, 'disk')
  }

  /** Undefined, with a visible word, where it cannot be had. */
  static create(type: 'ext4' | 'xfs' | 'btrfs', sizeBytes: number): DiskImage | undefined {
    const make = `mkfs.${type}`
    const missing =
      process.getuid?.() !== 0
        ? 'root'
        : [make, 'losetup'].find((tool) => spawnSync('which', [tool]).status !== 0)
    if (missing !== undefined) {
      console.log(`SKIP a disk image of ${type}: needs ${missing}`)
      return undefined
    }
    const image = new DiskImage(mkdtempSync(path.join(tmpdir(), 'insitu-image-')))
    try {
      const file = path.join(image.#scratch, 'image')
      writeFileSync(file, '')
      truncateSync(file, sizeBytes)
      mkdirSync(image.folder)
      execFileSync(make, ['-q', file], { stdio: 'ignore' })
      execFileSync('mount', ['-o', 'loop', '-t', type, file, image.folder])
      return image
    } catch (error) {
      image[Symbol.dispose]()
      console.log(`SKIP a disk image of ${type}: ${String(error).split('\n')[0]}`)
      return undefined
    }
  }

  remount(options: string): void {
    execFileSync('mount', ['-o', `remount,${options}`, this.folder])
  }

  /** Who has something of it open goes on. */
  takeAway(): void {
    execFileSync('umount', ['-l', this.folder])
  }

  [Symbol.dispose](): void {
    spawnSync('umount', ['-l', this.folder], { stdio: 'ignore' })
    rmSync(this.#scratch, { recursive: true, force: true })
  }
}
