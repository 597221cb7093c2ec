/** The backing filesystem is full, read-only, over quota, taken away: each caller gets the errno that
 * the backing directory itself would give, other files go on, and the server lives. */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { errnoOf } from '../../src/errors.ts'
import { DiskImage } from '../support/disk-image.ts'
import { type ScratchMount, scratchMount, whyNoFuse } from '../support/scratch-mount.ts'

const test = suite('faults of the backing filesystem')
const MiB = 1024 * 1024

function failure(work: () => unknown): string {
  try {
    work()
    return 'none'
  } catch (error) {
    return errnoOf(error)
  }
}

/** Writes until it may no more; how far it came is what `size` says then. */
function fill(file: string): string {
  const fd = fs.openSync(file, 'a')
  try {
    for (;;) {
      const code = failure(() => fs.writeSync(fd, Buffer.alloc(MiB / 4, 1)))
      if (code !== 'none') return code
    }
  } finally {
    fs.closeSync(fd)
  }
}

/** The same trials with and without passthrough. */
function each(
  name: string,
  type: 'ext4' | 'btrfs',
  body: (mount: ScratchMount, image: DiskImage) => Promise<void> | void,
): void {
  for (const passthrough of [false, true])
    test(`${name}, ${passthrough ? 'by passthrough' : 'by our threads'}`, async () => {
      using image = DiskImage.create(type, type === 'ext4' ? 16 * MiB : 160 * MiB)
      if (image === undefined) return
      await using mount = await scratchMount({
        backing: path.join(image.folder, 'files'),
        passthrough,
      })
      fs.writeFileSync(path.join(mount.mountPoint, 'other'), 'other')
      await body(mount, image)
      assert.is(mount.child.exitCode, null, 'the server lives')
    })
}

const reason = whyNoFuse()
if (reason !== undefined || process.getuid?.() !== 0) {
  console.log(`SKIP faults of the backing filesystem: ${reason ?? 'needs root'}`)
  test('is skipped', () => undefined)
} else {
  each('full', 'ext4', async ({ mountPoint, backing }) => {
    const big = path.join(mountPoint, 'big')
    const room = fs.statfsSync(backing).bfree
    assert.is(fill(big), 'ENOSPC')
    const { size } = fs.statSync(big)
    assert.is(size, fs.statSync(path.join(backing, 'big')).size)
    assert.ok(size > MiB)
    assert.is(
      failure(() => fs.appendFileSync(big, Buffer.alloc(MiB, 1))),
      'ENOSPC',
    )
    assert.is(fs.readFileSync(path.join(mountPoint, 'other'), 'utf8'), 'other')
    assert.is(
      fs.readFileSync(big).findLastIndex((byte) => byte !== 1),
      -1,
    )
    fs.unlinkSync(big)
    // The last RELEASE comes after close(2): and with it goes all that holds the file, in the kernel too.
    for (let tries = 100; tries > 0 && fs.statfsSync(backing).bfree < room; tries -= 1)
      await sleep(20)
    assert.is(fs.statfsSync(backing).bfree, room)
    fs.writeFileSync(path.join(mountPoint, 'after'), 'room again')
    assert.is(fs.readFileSync(path.join(backing, 'after'), 'utf8'), 'room again')
  })

  each('read-only', 'ext4', ({ mountPoint }, image) => {
    const other = path.join(mountPoint, 'other')
    image.remount('ro')
    assert.is(
      failure(() => fs.writeFileSync(other, 'changed')),
      'EROFS',
    )
    assert.is(
      failure(() => fs.mkdirSync(path.join(mountPoint, 'd'))),
      'EROFS',
    )
    assert.is(
      failure(() => fs.unlinkSync(other)),
      'EROFS',
    )
    assert.is(
      failure(() => fs.chmodSync(other, 0o600)),
      'EROFS',
    )
    assert.is(fs.readFileSync(other, 'utf8'), 'other')
    image.remount('rw')
    fs.writeFileSync(other, 'changed')
    assert.is(fs.readFileSync(other, 'utf8'), 'changed')
  })

  each('over quota', 'btrfs', ({ mountPoint, backing }, image) => {
    const limited = path.join(backing, 'limited')
    execFileSync('btrfs', ['subvolume', 'create', limited], { stdio: 'ignore' })
    execFileSync('btrfs', ['quota', 'enable', image.folder], { stdio: 'ignore' })
    execFileSync('btrfs', ['qgroup', 'limit', `${4 * MiB}`, limited], { stdio: 'ignore' })
    assert.is(fill(path.join(mountPoint, 'limited', 'big')), 'EDQUOT')
    assert.is(
      failure(() => fs.writeFileSync(path.join(limited, 'direct'), Buffer.alloc(MiB))),
      'EDQUOT',
    )
    fs.writeFileSync(path.join(mountPoint, 'elsewhere'), 'goes on')
    assert.is(fs.readFileSync(path.join(mountPoint, 'other'), 'utf8'), 'other')
  })

  each('taken away', 'ext4', ({ mountPoint }, image) => {
    const open = fs.openSync(path.join(mountPoint, 'other'), 'r+')
    image.takeAway()
    // Descriptors hold what was mounted: nothing is lost, and nothing else is shown in its place.
    fs.writeSync(open, 'OTHER')
    fs.closeSync(open)
    assert.is(fs.readFileSync(path.join(mountPoint, 'other'), 'utf8'), 'OTHER')
    fs.writeFileSync(path.join(mountPoint, 'new'), 'new')
    assert.equal(fs.readdirSync(mountPoint).toSorted(), ['new', 'other'])
    assert.equal(fs.readdirSync(image.folder), [])
  })

  test('the backing directory is removed', async () => {
    await using mount = await scratchMount()
    fs.writeFileSync(path.join(mount.mountPoint, 'f'), 'kept')
    const open = fs.openSync(path.join(mount.mountPoint, 'f'), 'r')
    fs.rmSync(mount.backing, { recursive: true })
    fs.mkdirSync(mount.backing)
    fs.writeFileSync(path.join(mount.backing, 'f'), 'another')
    assert.is(
      failure(() => fs.writeFileSync(path.join(mount.mountPoint, 'g'), '')),
      'ENOENT',
    )
    assert.is(fs.readFileSync(open, 'utf8'), 'kept')
    fs.closeSync(open)
    assert.is(mount.child.exitCode, null)
    // The name of an open file may be known for a second longer.
    execFileSync('sh', [
      '-c',
      'for i in 1 2 3 4 5 6 7 8 9 10; do test -e "$1" || exit 0; sleep 0.3; done; exit 1',
      'sh',
      path.join(mount.mountPoint, 'f'),
    ])
  })
}
test.run()
