/** A graft that may hold so much and no more. */
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { type GraftMount, graftSuite } from '../support/graft-mount.ts'
import { run } from '../support/mount-suite.ts'

const test = graftSuite('graft quota')

const MIB = 1024 * 1024

/** Runs `script` in a directory; `attempt(what, call)` prints what it gave, or its error. */
async function python(cwd: string, script: string): Promise<string> {
  const prelude = `
import errno, mmap, os, sys
os.chdir(sys.argv[1])
MIB = 1 << 20
def attempt(what, call):
    try: print(what, call())
    except OSError as e: print(what, errno.errorcode[e.errno])
`
  const { stdout, stderr } = await run('python3', ['-c', prelude + script, cwd])
  return stdout + stderr
}

async function used(mount: GraftMount): Promise<number> {
  return (await mount.statistics()).grafts[0]?.usedBytes ?? -1
}

for (const filesystem of ['ext4', 'tmpfs'] as const)
  test(`on ${filesystem}: every way to occupy more ends at it`, async (mount) => {
    const tree = filesystem === 'ext4' ? mount.tree('tree') : mount.tmpfs('tree')
    await fs.writeFile(path.join(tree, 'before'), Buffer.alloc(MIB + 4096))
    await fs.link(path.join(tree, 'before'), path.join(tree, 'linked'))
    const at = path.join(mount.mountPoint, 'data')
    await mount.graft({ name: 'data', backing: tree, quotaBytes: 4 * MIB })
    const start = await used(mount)
    assert.ok(start >= MIB && start < MIB + 64 * 1024, `${start} at the start`)
    const space = await fs.statfs(at)
    assert.is(space.blocks * space.bsize, 4 * MIB)
    assert.ok(Math.abs(space.bavail * space.bsize - (4 * MIB - start)) <= space.bsize)

    const out = await python(
      at,
      `
fd = os.open('file', os.O_RDWR | os.O_CREAT)
attempt('write', lambda: os.pwrite(fd, b'x' * 2 * MIB, 0))
attempt('over', lambda: os.pwrite(fd, b'x' * MIB, 2 * MIB))
attempt('same place', lambda: os.pwrite(fd, b'y' * 2 * MIB, 0))
attempt('fallocate', lambda: os.posix_fallocate(fd, 2 * MIB, MIB))
attempt('truncate', lambda: os.truncate('file', 100 * MIB))
src = os.open('before', os.O_RDONLY)
dst = os.open('copy', os.O_RDWR | os.O_CREAT)
attempt('copy', lambda: os.copy_file_range(src, dst, MIB))
m = mmap.mmap(fd, 2 * MIB)
m[0:5] = b'stored'[0:5]
attempt('msync', lambda: m.flush())
os.fsync(fd)
os.unlink('file')
attempt('still open', lambda: os.pwrite(dst, b'x' * MIB, 0))
m.close(); os.close(fd)
`,
    )
    // A write of several requests may be done in part.
    assert.is(
      out.replace(/^over \d+$/m, 'over EDQUOT'),
      `write ${2 * MIB}
over EDQUOT
same place ${2 * MIB}
fallocate EDQUOT
truncate EDQUOT
copy EDQUOT
msync None
still open EDQUOT
`,
    )
    // The release comes after close(2).
    const until = Date.now() + 10_000
    while ((await used(mount)) > start + 64 * 1024) assert.ok(Date.now() < until, 'given back')
    const again = await python(
      at,
      `
attempt('write', lambda: os.write(os.open('file', os.O_WRONLY | os.O_CREAT), b'x' * 2 * MIB))
attempt('hole', lambda: os.truncate('file', 2 * MIB + 1000))
attempt('shorter', lambda: os.truncate('file', 0))
fd = os.open('file', os.O_RDWR)
def in_a_row():
    for _ in range(200):
        os.pwrite(fd, b'x' * 2 * MIB, 0)
        os.ftruncate(fd, 2 * MIB + 1000)
        os.ftruncate(fd, 0)
attempt('in a row', in_a_row)
attempt('fallocate', lambda: os.posix_fallocate(fd, 0, 2 * MIB + MIB // 2))
attempt('into it', lambda: os.pwrite(fd, b'x' * MIB, MIB))
os.rename('before', 'file')
os.close(fd)
attempt('linked', lambda: os.unlink('linked'))
`,
    )
    assert.is(
      again,
      `write ${2 * MIB}
hole None
shorter None
in a row None
fallocate None
into it ${MIB}
linked None
`,
    )
    const count = Number((await run('du', ['-sB1', tree])).stdout.split('\t')[0])
    const settled = Date.now() + 10_000
    while ((await used(mount)) !== count)
      assert.ok(Date.now() < settled, `${await used(mount)} counted, ${count} there`)
  })

test('reads and names cost nothing, and a full one can be emptied', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'big'), Buffer.alloc(2 * MIB))
  const at = path.join(mount.mountPoint, 'data')
  await mount.graft({ name: 'data', backing: tree, quotaBytes: MIB })
  assert.is((await fs.statfs(at)).bavail, 0)
  const out = await python(
    at,
    `
attempt('read', lambda: len(open('big', 'rb').read()))
attempt('overwrite', lambda: os.pwrite(os.open('big', os.O_WRONLY), b'x' * MIB, 0))
attempt('create', lambda: os.close(os.open('new', os.O_WRONLY | os.O_CREAT)))
attempt('mkdir', lambda: os.mkdir('directory'))
attempt('write', lambda: os.write(os.open('new', os.O_WRONLY), b'x'))
attempt('rename', lambda: os.rename('new', 'newer'))
attempt('empty', lambda: os.close(os.open('big', os.O_WRONLY | os.O_TRUNC)))
attempt('mkdir', lambda: os.mkdir('directory'))
`,
  )
  assert.is(
    out,
    `read ${2 * MIB}
overwrite ${MIB}
create None
mkdir EDQUOT
write EDQUOT
rename None
empty None
mkdir None
`,
  )
})

test.run()
