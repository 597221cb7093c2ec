/**
 * A result that is opened again and again costs one request each time, as any file, and is fresh all
 * the same; see native/file-server/result_seal.cc.
 */
import * as assert from 'uvu/assert'
import { suite } from 'uvu'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { whyNoFuse } from '../support/scratch-mount.ts'
import { virtualMount, type VirtualMount } from '../support/virtual-mount.ts'

const obstacle = whyNoFuse()
if (obstacle !== undefined) console.log(`SKIP sealed results: ${obstacle}`)
const test = suite('virtual files: sealed results')

/** A mount with `.results/out`, a copy of `in`, which was read so often that its name is sealed. */
function it(name: string, body: (mount: VirtualMount, out: string) => Promise<void>): void {
  const run = async (): Promise<void> => {
    for (const exclusive of [false, true]) {
      await using mount = await virtualMount({ exclusive })
      const out = path.join(mount.mountPoint, '.results/out')
      change(mount, 'one')
      await fs.writeFile(path.join(mount.mountPoint, '.compute'), 'out=in\n')
      await seal(out)
      await body(mount, out)
    }
  }
  if (obstacle === undefined) test(name, run)
  else test.skip(name, run)
}

/** Through the mount: an exclusive volume is changed by nobody else. */
function change(mount: VirtualMount, text: string): void {
  writeFileSync(path.join(mount.mountPoint, 'in'), text)
}

async function seal(out: string): Promise<void> {
  for (let i = 0; i < 4; i += 1) await fs.readFile(out)
}

async function requests(mount: VirtualMount): Promise<Record<string, number>> {
  return { ...(await mount.command({})).statistics.operations }
}

function openAndRead(file: string, times: number): void {
  execFileSync('python3', [
    '-c',
    `import os, sys
for i in range(int(sys.argv[2])):
    f = os.open(sys.argv[1], os.O_RDONLY)
    os.read(f, 4096)
    os.close(f)`,
    file,
    String(times),
  ])
}

it('one request an open', async (mount, out) => {
  openAndRead(out, 1)
  const before = await requests(mount)
  openAndRead(out, 100)
  const after = await requests(mount)
  const more = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0)
  assert.is(more('open'), 100)
  // Directories on the way may run out of their second.
  assert.ok(more('lookup') < 10, `${more('lookup')} lookups`)
  assert.ok(more('getattr') < 10, `${more('getattr')} getattrs`)
})

it('every kind of look by path is fresh', async (mount, out) => {
  const looks: Record<string, () => Promise<number>> = {
    stat: async () => (await fs.stat(out)).size,
    lstat: async () => (await fs.lstat(out)).size,
    open: async () => (await fs.readFile(out)).length,
    find: async () => Number(execFileSync('find', [out, '-printf', '%s'])),
    shell: async () => Number(execFileSync('sh', ['-c', `wc -c < ${out}`])),
  }
  for (const [index, [name, look]] of Object.entries(looks).entries())
    for (let length = 1; length < 20; length += 1) {
      change(mount, String(index).repeat(length))
      assert.is(await look(), length, name)
      if (length % 4 === 0) await seal(out)
    }
})

it('an open version keeps its attributes, its etag and its bytes, also opened anew', async (mount, out) => {
  const script = `
import os, sys
out, source = sys.argv[1:]
def write(text):
    with open(source, 'w') as f: f.write(text)
fd = os.open(out, os.O_RDONLY)
before = os.fstat(fd)
etag = os.getxattr(fd, 'user.insitu.etag')
for size in range(20, 26):
    write('x' * size)
    assert os.fstat(fd) == before, 'fstat'
    assert os.getxattr(fd, 'user.insitu.etag') == etag, 'fgetxattr'
    assert os.lseek(fd, 0, os.SEEK_END) == 3, 'lseek'
    assert os.stat(out).st_size == size, 'stat'
    assert os.getxattr(out, 'user.insitu.etag') != etag, 'getxattr'
    assert os.pread(fd, 100, 0) == b'one', 'pread'
    with open('/proc/self/fd/%d' % fd, 'rb') as again: assert again.read() == b'one', 'reopen'
    for _ in range(4): open(out).close()
print('good')`
  const source = path.join(mount.mountPoint, 'in')
  const said = execFileSync('python3', ['-c', script, out, source], { encoding: 'utf8' })
  assert.is(said, 'good\n')
})

it('the last good set beside it is another file', async (mount, out) => {
  const last = path.join(mount.mountPoint, '.results/.last/out')
  assert.is(await fs.readFile(last, 'utf8'), 'one')
  await seal(out)
  change(mount, 'another')
  // Its set was not replaced yet.
  assert.is((await fs.stat(last)).size, 3)
  assert.is(await fs.readFile(out, 'utf8'), 'another')
  assert.is((await fs.stat(last)).size, 7)
})

it('a program that goes takes its results along', async (mount, out) => {
  await fs.rm(path.join(mount.mountPoint, '.compute'))
  for (const look of [() => fs.readFile(out), () => fs.stat(out)])
    assert.is(
      await look().then(
        () => 'there',
        (error: unknown) => (error as NodeJS.ErrnoException).code,
      ),
      'ENOENT',
    )
})

test.run()
