/** Inodes without a descriptor: more files than the server may open, found again by handle or by
 * checked paths. */
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { type GraftMount, graftMount, graftSuite } from '../support/graft-mount.ts'
import { run } from '../support/mount-suite.ts'

const test = graftSuite('inodes')

/** Of which a quarter is for inodes. */
const DESCRIPTORS = 512

async function descriptorsOf(mount: GraftMount): Promise<number> {
  return (await fs.readdir(`/proc/${mount.child.pid}/fd`)).length
}

/** What happens to nodes that the kernel holds while the server has given their descriptors up. */
const HELD = `
import errno, os, sys
os.chdir(sys.argv[1])
def attempt(what, call):
    try: print(what, call())
    except OSError as e: print(what, errno.errorcode[e.errno])
def scan():
    for folder, _, files in os.walk('many'):
        for name in files: os.stat(os.path.join(folder, name))
os.makedirs('held/deep/er')
open('held/deep/er/file', 'w').write('content')
open('held/gone', 'w').write('gone')
directory = os.open('held/deep/er', os.O_RDONLY | os.O_DIRECTORY)
path = os.open('held/deep/er/file', os.O_PATH)
gone = os.open('held/gone', os.O_RDWR)
scan()
attempt('stat', lambda: os.fstat(path).st_size)
os.rename('held/deep', 'held/moved')
os.rename('held/moved/er/file', 'held/moved/er/renamed')
os.unlink('held/gone')
scan()
attempt('renamed', lambda: os.fstat(path).st_size)
attempt('list', lambda: os.listdir(directory))
attempt('below', lambda: os.stat('renamed', dir_fd=directory).st_size)
attempt('gone', lambda: (os.fstat(gone).st_nlink, os.pread(gone, 10, 0)))
os.replace('held/moved/er/renamed', 'held/other')
open('held/moved/er/renamed', 'w').write('x')
scan()
attempt('moved', lambda: os.fstat(path).st_size)
os.ftruncate(gone, 2)
attempt('shorter', lambda: os.fstat(gone).st_size)
`

async function manyAreFound(mount: GraftMount, backing: string, at: string): Promise<void> {
  const [folders, files] = [10, 100]
  for (let i = 0; i < folders; i += 1) {
    await fs.mkdir(path.join(backing, 'many', `${i}`), { recursive: true })
    for (let j = 0; j < files; j += 1)
      await fs.writeFile(path.join(backing, 'many', `${i}`, `file-${j}`), `${i} ${j}`)
  }
  const before = await descriptorsOf(mount)
  const found = await run('find', [
    path.join(at, 'many'),
    '-type',
    'f',
    '-size',
    '-2',
    '-links',
    '1',
  ])
  assert.is(found.stdout.split('\n').length - 1, folders * files, found.stderr)
  assert.ok((await mount.statistics()).nodes > folders * files)
  const held = (await descriptorsOf(mount)) - before
  assert.ok(held < DESCRIPTORS / 2, `${held} descriptors for ${folders * files} files`)
  const { stdout, stderr } = await run('python3', ['-c', HELD, at])
  assert.is(
    stdout + stderr,
    `stat 7
renamed 7
list ['renamed']
below 7
gone (0, b'gone')
moved 7
shorter 2
`,
  )
}

test(
  'on ext4, by handle; so in a graft of another filesystem',
  async (mount) => {
    const tree = mount.tmpfs('tree')
    await mount.graft({ name: 'data', backing: tree })
    await manyAreFound(mount, mount.backing, mount.mountPoint)
    await manyAreFound(mount, tree, path.join(mount.mountPoint, 'data'))
  },
  { descriptors: DESCRIPTORS },
)

test(
  'in a filesystem that is mounted below',
  async (mount) => {
    const below = path.join(mount.backing, 'below')
    await fs.mkdir(below)
    assert.is((await run('mount', ['-t', 'tmpfs', 'insitu-test', below])).code, 0)
    try {
      await manyAreFound(mount, below, path.join(mount.mountPoint, 'below'))
      // A handle of its root says the same as one of the root that the volume is on.
      const query = await run('stat', [path.join(mount.mountPoint, 'below', '.query')])
      assert.match(query.stderr, /not supported/)
      const attached = await run(
        'sh',
        ['-c'],
        'echo 1 > "$1"/.compute',
        path.join(mount.mountPoint, 'below'),
      )
      assert.match(attached.stderr, /not supported/i)
    } finally {
      await run('umount', ['-l', below])
    }
  },
  { descriptors: DESCRIPTORS },
)

/** Files of the backing directory that get an inode number of one that the kernel knows by the mount. */
const REUSED = `
import errno, os, sys, time
mount, backing = sys.argv[1:]
os.chdir(mount)
def scan():
    for folder, _, files in os.walk('many'):
        for name in files: os.stat(os.path.join(folder, name))
def trial(what, age, evict):
    open(backing + '/old', 'w').write('old')
    number = os.stat(backing + '/old').st_ino
    fd = os.open('old', os.O_PATH)
    time.sleep(age)
    os.stat('old')
    if evict: scan()
    time.sleep(1.1)
    os.unlink(backing + '/old')
    for i in range(2000):
        name = f'new-{i}'
        open(f'{backing}/{name}', 'w').write('newer')
        if os.stat(f'{backing}/{name}').st_ino == number: break
    else:
        print(what, 'not reused')
        return
    for _ in range(2):
        assert os.stat(name).st_size == 5 and open(name).read() == 'newer'
        time.sleep(1.1)
    try: print(what, os.fstat(fd).st_nlink)
    except OSError as e: print(what, errno.errorcode[e.errno])
    os.close(fd)
    for i in range(i + 1): os.unlink(f'{backing}/new-{i}')
trial('old', 1.2, True)
trial('young', 0, True)
`

test(
  'a number that is used again is another node',
  async (mount) => {
    for (let i = 0; i < 600; i += 1) {
      await fs.mkdir(path.join(mount.backing, 'many'), { recursive: true })
      await fs.writeFile(path.join(mount.backing, 'many', `file-${i}`), '')
    }
    const { stdout, stderr } = await run('python3', ['-c', REUSED, mount.mountPoint, mount.backing])
    assert.match(stdout + stderr, /^old (ESTALE|not reused)\nyoung (ESTALE|not reused)\n$/)
  },
  { descriptors: DESCRIPTORS },
)

async function overlay(folder: string): Promise<string> {
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) =>
    path.join(folder, name),
  ) as [string, string, string, string]
  for (const part of [lower, upper, work, merged]) await fs.mkdir(part)
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
  const done = await run('mount', ['-t', 'overlay', '-o', options, 'insitu-test', merged])
  assert.is(done.code, 0, done.stderr)
  return merged
}

test('on overlayfs, which has no handles, by paths that are checked', async (outer) => {
  const below = await overlay(outer.tmpfs('layers'))
  try {
    await using mount = await graftMount({ below, descriptors: DESCRIPTORS })
    await manyAreFound(mount, mount.backing, mount.mountPoint)
    // Somebody else puts another file in its place: never taken for the one that was there.
    const script = `
import errno, os, sys
mount, backing = sys.argv[1:]
os.chdir(mount)
open('file', 'w').write('old')
fd = os.open('file', os.O_PATH)
os.fstat(fd)
for folder, _, files in os.walk('many'):
    for name in files: os.stat(os.path.join(folder, name))
os.rename(backing + '/file', backing + '/elsewhere')
open(backing + '/file', 'w').write('newer')
os.stat('file')
import time
time.sleep(1.1)
try: print(os.fstat(fd).st_size)
except OSError as e: print(errno.errorcode[e.errno])
print(os.stat('file').st_size)
`
    const { stdout, stderr } = await run('python3', ['-c', script, mount.mountPoint, mount.backing])
    assert.match(stdout + stderr, /^(ESTALE|3)\n5\n$/)
  } finally {
    await run('umount', ['-l', below])
  }
})

test.run()
