/** `.compute`, `.results` and `.query` on a real mount, with a toy behind them. */
import * as assert from 'uvu/assert'
import { suite } from 'uvu'
import { execFile } from 'node:child_process'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

import { withLimits } from '../support/file-server.ts'
import { whyNoFuse } from '../support/scratch-mount.ts'
import { virtualMount } from '../support/virtual-mount.ts'

const execute = promisify(execFile)
const obstacle = whyNoFuse()
if (obstacle !== undefined) console.log(`SKIP virtual files: ${obstacle}`)
const title = 'virtual files: .compute'
const test = suite(title)

function it(name: string, body: () => Promise<void>): void {
  if (obstacle === undefined) test(name, withLimits(title, name, body))
  else test.skip(name, body)
}

/** Output of a shell in the mount, or `exit N: stderr`. */
async function sh(cwd: string, script: string): Promise<string> {
  try {
    return (await execute('sh', ['-c', script], { cwd, timeout: 20_000 })).stdout
  } catch (error) {
    const { code, stderr } = error as { code?: number; stderr?: string }
    return `exit ${code}: ${stderr?.trim()}`
  }
}

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => String((error as NodeJS.ErrnoException).code),
  )
}

it('a program is written, read, and its results appear', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.writeFile(path.join(backing, 'in'), 'hello\n')
  assert.is(await code(fs.stat(path.join(mountPoint, '.compute'))), 'ENOENT')
  assert.is(await code(fs.readdir(path.join(mountPoint, '.results'))), 'ENOENT')
  await fs.writeFile(path.join(mountPoint, '.compute'), 'out=in\n')
  assert.is(await fs.readFile(path.join(mountPoint, '.compute'), 'utf8'), 'out=in\n')
  assert.is((await fs.stat(path.join(mountPoint, '.compute'))).size, 7)
  assert.is(await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8'), 'hello\n')
  assert.equal((await fs.readdir(path.join(mountPoint, '.results'))).toSorted(), [
    '.error',
    '.inputs',
    '.last',
    '.log',
    '.status',
    'out',
  ])
  assert.is(
    await fs.readFile(path.join(mountPoint, '.results/.status'), 'utf8'),
    '.status of the toy\n',
  )
  assert.equal(await fs.readdir(mountPoint), ['in'])
  assert.equal(await fs.readdir(backing), ['in'])
})

it('an unchanged set is served without a request; a change is seen at once', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.writeFile(path.join(backing, 'in'), 'one')
  await mount.command({ program: 'out=in\nnone=absent\n' })
  const out = path.join(mountPoint, '.results/out')
  assert.is(await fs.readFile(out, 'utf8'), 'one')
  const { runs } = await mount.command({})
  for (let again = 0; again < 5; again += 1) assert.is(await fs.readFile(out, 'utf8'), 'one')
  const after = await mount.command({})
  assert.is(after.runs, runs)
  assert.equal(after.seen, [])
  for (const content of ['two', 'three', 'no', 'longer than before']) {
    await fs.writeFile(path.join(backing, 'in'), content)
    assert.is(await fs.readFile(out, 'utf8'), content)
    await fs.appendFile(path.join(mountPoint, 'in'), '+')
    assert.is((await fs.stat(out)).size, content.length + 1)
    assert.is(await fs.readFile(out, 'utf8'), `${content}+`)
  }
  // Its name was looked for and not found.
  assert.is(await code(fs.stat(path.join(mountPoint, '.results/none'))), 'ENOENT')
  await fs.writeFile(path.join(mountPoint, 'absent'), 'here')
  assert.is(await fs.readFile(path.join(mountPoint, '.results/none'), 'utf8'), 'here')
  await fs.rm(path.join(mountPoint, 'in'))
  assert.is(await code(fs.readFile(out)), 'ENOENT')
  assert.is(await code(fs.stat(path.join(mountPoint, '.results/nothing'))), 'ENOENT')
})

it('each version is a node of its own', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.writeFile(path.join(backing, 'in'), 'old')
  await mount.command({ program: 'out=in\n' })
  const out = path.join(mountPoint, '.results/out')
  const old = await fs.open(out)
  const before = await old.stat()
  await fs.writeFile(path.join(backing, 'in'), 'newer')
  assert.is(await fs.readFile(out, 'utf8'), 'newer')
  const after = await old.stat()
  assert.equal([after.ino, after.size, after.mtimeMs], [before.ino, before.size, before.mtimeMs])
  assert.is(await old.readFile('utf8'), 'old')
  assert.is.not((await fs.stat(out)).ino, before.ino)
  await old.close()
  // stat and open of one version agree.
  const open = await fs.open(out)
  assert.is((await open.stat()).ino, (await fs.stat(out)).ino)
  await open.close()
})

it('a version that was swept is looked up again', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.writeFile(path.join(backing, 'in'), 'x')
  await mount.command({ program: 'out=in\n', run: true })
  await mount.command({ sweep: true })
  // It is computed again.
  assert.is(await sh(mountPoint, 'cat .results/out'), 'x')
  assert.is(await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8'), 'x')
  // Read once, a file is held open as long as its set is the published one.
  await mount.command({ sweep: true })
  assert.is(await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8'), 'x')
})

it('a set that is withdrawn before its looker has it is asked for again', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.writeFile(path.join(backing, 'in'), 'x')
  await mount.command({ program: 'out=in\n', withdraw: 2 })
  assert.is(await fs.readFile(path.join(mountPoint, '.results/out'), 'utf8'), 'x')
  await mount.command({ program: 'out=in\n', withdraw: 100 })
  await fs.writeFile(path.join(backing, 'in'), 'y')
  assert.is(await code(fs.readFile(path.join(mountPoint, '.results/out'))), 'EIO')
})

it('results are read-only files with attributes', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.writeFile(path.join(backing, 'in'), 'x'.repeat(10_000))
  await mount.command({ program: 'out=in\n', run: true, mode: 0o440 })
  const results = path.join(mountPoint, '.results')
  const out = path.join(results, 'out')
  assert.is(await code(fs.writeFile(out, 'y')), 'EROFS')
  assert.is(await code(fs.truncate(out)), 'EROFS')
  assert.is(await code(fs.chmod(out, 0o777)), 'EPERM')
  assert.is(await code(fs.rm(out)), 'EPERM')
  assert.is(await code(fs.rename(out, path.join(results, 'b'))), 'EPERM')
  assert.is(await code(fs.rename(out, path.join(mountPoint, 'b'))), 'EPERM')
  assert.is(await code(fs.rename(path.join(mountPoint, 'in'), path.join(results, 'new'))), 'EPERM')
  assert.is(await code(fs.link(out, path.join(mountPoint, 'b'))), 'EPERM')
  assert.is(await code(fs.mkdir(path.join(results, '.new'))), 'EPERM')
  assert.is(await code(fs.rmdir(results)), 'EPERM')
  assert.is(await code(fs.writeFile(path.join(results, '.new'), '')), 'EPERM')
  assert.is((await fs.stat(out)).size, 10_000)
  assert.match(
    await sh(mountPoint, 'getfattr -d .results/out'),
    /user.insitu.etag="etag-out-[0-9]+"\nuser.insitu.program="toy"/,
  )
  assert.is(
    await sh(mountPoint, 'cp .results/out copy && cmp .results/out copy && echo same'),
    'same\n',
  )
  assert.is(
    await sh(mountPoint, 'tail -c 3 .results/out; cat .results/.last/out | wc -c'),
    'xxx10000\n',
  )
  assert.is(
    await sh(
      mountPoint,
      "python3 -c \"import mmap;f=open('.results/out','rb');print(len(mmap.mmap(f.fileno(),0,prot=1)))\"",
    ),
    '10000\n',
  )
})

it('a failing run is EIO; control files answer all the same', async () => {
  await using mount = await virtualMount()
  const { mountPoint } = mount
  await mount.command({ program: 'out=in\n', resolve: 'fail' })
  const results = path.join(mountPoint, '.results')
  assert.is(await code(fs.readFile(path.join(results, 'out'))), 'EIO')
  assert.is(await code(fs.readdir(results)), 'EIO')
  assert.is(await fs.readFile(path.join(results, '.error'), 'utf8'), '.error of the toy\n')
  assert.is((await fs.stat(path.join(results, '.error'))).size, 18)
})

it('a program that does not compile fails the close', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.writeFile(path.join(backing, 'bad.js'), 'bad\n')
  assert.match(await sh(mountPoint, 'cp bad.js .compute'), /^exit 1: .*Exec format error/)
  assert.match(await sh(mountPoint, 'mv bad.js .compute'), /^exit 1: .*Exec format error/)
  assert.is(await fs.readFile(path.join(mountPoint, 'bad.js'), 'utf8'), 'bad\n')
})

it('renames onto .compute leave nothing of the source', async () => {
  for (const exclusive of [false, true]) {
    await using mount = await virtualMount({ exclusive })
    const { mountPoint, backing } = mount
    await fs.mkdir(path.join(mountPoint, 'd'))
    for (let round = 0; round < 20; round += 1) {
      const source = `out=in${round}\n`
      await fs.writeFile(path.join(mountPoint, 'p.js'), source)
      await fs.stat(path.join(mountPoint, 'p.js'))
      await fs.link(path.join(mountPoint, 'p.js'), path.join(mountPoint, 'other'))
      await fs.rename(path.join(mountPoint, 'p.js'), path.join(mountPoint, '.compute'))
      assert.is(await fs.readFile(path.join(mountPoint, '.compute'), 'utf8'), source)
      assert.is(await mount.source(), source)
      assert.is(await code(fs.stat(path.join(mountPoint, 'p.js'))), 'ENOENT')
      assert.is(await fs.readFile(path.join(mountPoint, 'other'), 'utf8'), source)
      await fs.rm(path.join(mountPoint, 'other'))
    }
    assert.equal(await fs.readdir(backing), ['d'])
    // mv copies what cannot be renamed away.
    assert.is(await sh(mountPoint, 'mv .compute d/kept && cat d/kept'), 'out=in19\n')
    assert.is(await code(fs.stat(path.join(mountPoint, '.compute'))), 'ENOENT')
    assert.is(
      await sh(mountPoint, 'mv d/kept d/.compute && cat d/.compute && ls -A d'),
      'out=in19\n',
    )
    assert.match(await sh(mountPoint, 'mkdir e; mv -T e d/.compute'), /^exit 1/)
  }
})

it('writing tools find the file that they expect', async () => {
  await using mount = await virtualMount()
  const { mountPoint } = mount
  await fs.writeFile(path.join(mountPoint, 'p'), 'a=b\n')
  for (const [script, source] of [
    ['cat p > .compute', 'a=b\n'],
    ['cp -p p .compute', 'a=b\n'],
    ['install -m 644 p .compute', 'a=b\n'],
    ['tee .compute < p', 'a=b\n'],
    ['dd if=p of=.compute status=none', 'a=b\n'],
    ['echo c=d >> .compute', 'a=b\nc=d\n'],
    ['rm .compute; cp p .compute', 'a=b\n'],
    ['set -C; rm .compute; cat p > .compute', 'a=b\n'],
    ['rm .compute; mknod .compute p; mkdir .compute; cp p .compute', 'a=b\n'],
    ['chmod 600 .compute; chown 1 .compute; touch .compute', 'a=b\n'],
  ] as const) {
    const output = await sh(mountPoint, script)
    assert.is(await mount.source(), source, `${script}: ${output}`)
  }
  assert.is(await sh(mountPoint, 'rm .compute; ls -A'), 'p\n')
  assert.is(
    await sh(
      mountPoint,
      'mkdir .results || mkdir .query || ln p .compute || ln -s p .compute || echo none 2>/dev/null',
    ),
    'none\n',
  )
  const report = await mount.command({})
  assert.is(report.handles, 0)
  assert.is(report.statistics.openHandles, 0)
})

it('real entries of reserved names win, and that is said', async () => {
  await using mount = await virtualMount()
  const { mountPoint, backing } = mount
  await fs.mkdir(path.join(backing, 'd/.results'), { recursive: true })
  await fs.writeFile(path.join(backing, 'd/.compute'), 'mine')
  assert.is(await fs.readFile(path.join(mountPoint, 'd/.compute'), 'utf8'), 'mine')
  await fs.writeFile(path.join(mountPoint, 'd/.results/f'), 'x')
  await fs.rename(path.join(mountPoint, 'd/.compute'), path.join(mountPoint, 'd/was'))
  assert.equal((await fs.readdir(path.join(backing, 'd'))).toSorted(), ['.results', 'was'])
  const { seen } = await mount.command({})
  assert.ok(seen.includes('{"kind":"reserved-name-taken","path":"d/.compute"}'), seen.join('\n'))
})

it('a program follows its directory, and goes with it', async () => {
  await using mount = await virtualMount({ exclusive: true })
  const { mountPoint, backing } = mount
  await fs.mkdir(path.join(mountPoint, 'd'))
  await fs.writeFile(path.join(backing, 'd/in'), 'x')
  await mount.command({ at: 'd', program: 'out=in\n' })
  await fs.rename(path.join(mountPoint, 'd'), path.join(mountPoint, 'e'))
  assert.is(await fs.readFile(path.join(mountPoint, 'e/.results/out'), 'utf8'), 'x')
  await mount.command({ at: 'e', detach: true })
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.is(await code(fs.stat(path.join(mountPoint, 'e/.results'))), 'ENOENT')
  assert.is(await code(fs.stat(path.join(mountPoint, 'e/.compute'))), 'ENOENT')
  await mount.command({ at: 'e', program: 'out=in\n' })
  assert.is(await fs.readFile(path.join(mountPoint, 'e/.results/out'), 'utf8'), 'x')
  await fs.rm(path.join(mountPoint, 'e'), { recursive: true })
  await fs.mkdir(path.join(mountPoint, 'e'))
  assert.is(await code(fs.stat(path.join(mountPoint, 'e/.compute'))), 'ENOENT')
  const { seen } = await mount.command({})
  assert.ok(seen.includes('forget-directory'))
})

it('.query is a stream with cursors of its own', async () => {
  await using mount = await virtualMount()
  const { mountPoint } = mount
  assert.is(
    await sh(mountPoint, 'bash -c "exec 3<>.query; printf abc >&3; head -c 2 <&3; head -c 5 <&3"'),
    'ABC',
  )
  assert.is(
    await sh(
      mountPoint,
      `python3 -c "
import os,select
f=os.open('.query',os.O_RDWR)
os.write(f,b'xyz')
p=select.poll(); p.register(f,select.POLLIN)
print(p.poll(5000)[0][1], os.read(f,9))"`,
    ),
    "1 b'XYZ'\n",
  )
  assert.is(
    await sh(
      mountPoint,
      `python3 -c "
import os,select
f=os.open('.query',os.O_RDWR|os.O_NONBLOCK)
os.write(f,b'slow')
try: os.read(f,9)
except BlockingIOError: print('not yet')
p=select.poll(); p.register(f,select.POLLIN)
print(p.poll(0)); print(p.poll(10000)[0][1], os.read(f,9))"`,
    ),
    "not yet\n[]\n1 b'AT LAST'\n",
  )
  assert.is((await fs.stat(path.join(mountPoint, '.query'))).mode & 0o777, 0o666)
})

test.run()
