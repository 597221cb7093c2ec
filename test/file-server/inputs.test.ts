/** Volumes and input sessions over a plain directory, with no mount. */
import * as assert from 'uvu/assert'
import { suite } from 'uvu'
import { execFile, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import * as fs from 'node:fs/promises'
import { closeSync, readSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { VfsError } from '../../src/errors.ts'
import type { InputSession, Principal, Volume } from '../../src/file-server/types.ts'
import { openVolume } from '../../src/file-server/volume.ts'

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0
const self: Principal = {
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  groups: [],
}
const ALICE: Principal = { uid: 7001, gid: 7001, groups: [7100] }
const BOB: Principal = { uid: 7002, gid: 7002, groups: [] }

interface Context {
  root: string
  volume: Volume
}

const test = suite<Context>('inputs')

test.before.each(async (context) => {
  context.root = await fs.mkdtemp(path.join(tmpdir(), 'insitu-inputs-'))
  await fs.chmod(context.root, 0o755)
  context.volume = await openVolume(context.root)
})
test.after.each(async (context) => {
  context.volume.close()
  await fs.rm(context.root, { recursive: true, force: true })
})

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    assert.instance(error, VfsError)
    return (error as VfsError).code
  }
  return 'none'
}

async function session(context: Context, principal = self, at = ''): Promise<InputSession> {
  return context.volume.inputs(await context.volume.keyOf(at), principal)
}

async function contentOf(inputs: InputSession, name: string): Promise<string> {
  const { fd, sizeBytes } = await inputs.open(name)
  try {
    const buffer = Buffer.alloc(sizeBytes)
    readSync(fd, buffer, 0, sizeBytes, 0)
    return buffer.toString()
  } finally {
    closeSync(fd)
  }
}

async function why(inputs: InputSession, when: 'look' | 'end' = 'look'): Promise<string> {
  const validation = await inputs.validate(when)
  return validation.holds ? 'holds' : `${validation.path} ${validation.why}`
}

test('a key follows renames and dies with its directory', async (context) => {
  const { root, volume } = context
  await fs.mkdir(path.join(root, 'a/b'), { recursive: true })
  const key = await volume.keyOf('a/b')
  assert.match(key, /^[A-Za-z0-9:._-]{1,300}$/)
  assert.is(await volume.keyOf('a/b'), key)
  assert.is(await volume.pathOf(key), 'a/b')
  await fs.rename(path.join(root, 'a'), path.join(root, 'c'))
  assert.is(await volume.pathOf(key), 'c/b')
  assert.is(await volume.pathOf(await volume.keyOf('')), '')
  await fs.rmdir(path.join(root, 'c/b'))
  assert.is(await volume.pathOf(key), undefined)
  // Linux likes to give the same inode number again.
  await fs.mkdir(path.join(root, 'c/b'))
  assert.is(await volume.pathOf(key), undefined)
  assert.is(await code(volume.stat(key)), 'ESTALE')
  assert.is(await code(volume.inputs(key, self)), 'ESTALE')
})

test('a key that left the volume is gone', async (context) => {
  const outside = await fs.mkdtemp(path.join(tmpdir(), 'insitu-outside-'))
  try {
    await fs.mkdir(path.join(context.root, 'a'))
    const key = await context.volume.keyOf('a')
    await fs.rename(path.join(context.root, 'a'), path.join(outside, 'a'))
    assert.is(await context.volume.pathOf(key), undefined)
    assert.is(await code(context.volume.inputs(key, self)), 'ESTALE')
  } finally {
    await fs.rm(outside, { recursive: true })
  }
})

test('keyOf refuses what is no directory inside', async ({ root, volume }) => {
  await fs.writeFile(path.join(root, 'f'), '')
  await fs.symlink('/etc', path.join(root, 'etc'))
  assert.is(await code(volume.keyOf('none')), 'ENOENT')
  assert.is(await code(volume.keyOf('f')), 'ENOTDIR')
  assert.is(await code(volume.keyOf('etc')), 'EXDEV')
  assert.is(await code(volume.keyOf('../..')), 'EXDEV')
  assert.is(await code(openVolume(path.join(root, 'none'))), 'ENOENT')
})

test('an input is read through a descriptor that can only read', async (context) => {
  await fs.writeFile(path.join(context.root, 'f'), 'hello')
  const inputs = await session(context)
  const { fd, sizeBytes } = await inputs.open('./f')
  assert.is(sizeBytes, 5)
  assert.throws(() => writeSync(fd, 'x'), /EBADF/)
  if (isRoot) {
    // Not even by way of /proc, with all of root's rights.
    const again = await fs.open(`/proc/self/fd/${fd}`, 'r+').catch((error: unknown) => error)
    assert.is((again as NodeJS.ErrnoException).code, 'EROFS')
  }
  closeSync(fd)
  assert.is(await why(inputs), 'holds')
})

test('nothing outside, nothing that is no file', async (context) => {
  const { root } = context
  await fs.mkdir(path.join(root, 'd/sub'), { recursive: true })
  await fs.writeFile(path.join(root, 'secret'), 's')
  await fs.writeFile(path.join(root, 'd/sub/f'), 'inside')
  await fs.symlink('../secret', path.join(root, 'd/up'))
  await fs.symlink('/etc/passwd', path.join(root, 'd/absolute'))
  await fs.symlink('/proc/self/environ', path.join(root, 'd/magic'))
  await fs.symlink('loop', path.join(root, 'd/loop'))
  await fs.symlink('sub/f', path.join(root, 'd/good'))
  await run('mkfifo', [path.join(root, 'd/fifo')])
  if (isRoot) await run('mknod', [path.join(root, 'd/device'), 'c', '1', '5'])
  const server = createServer().listen(path.join(root, 'd/socket')).unref()
  const inputs = await session(context, self, 'd')
  const expected: [string, string][] = [
    ['../secret', 'EINVAL'],
    ['sub/../../secret', 'EINVAL'],
    ['/etc/passwd', 'EXDEV'],
    ['a\0b', 'EINVAL'],
    ['up', 'EXDEV'],
    ['absolute', 'EXDEV'],
    ['magic', 'EXDEV'],
    ['loop', 'ELOOP'],
    ['fifo', 'EINVAL'],
    ['socket', 'EINVAL'],
    ['sub', 'EINVAL'],
    ['', 'EINVAL'],
    ['none', 'ENOENT'],
    ['sub/f/x', 'ENOTDIR'],
    ['x'.repeat(300), 'ENAMETOOLONG'],
  ]
  if (isRoot) expected.push(['device', 'EINVAL'])
  for (const [name, errno] of expected)
    assert.is(await code(inputs.open(name)), errno, JSON.stringify(name))
  assert.is(await contentOf(inputs, 'good'), 'inside')
  assert.is(await contentOf(inputs, './/sub/./f'), 'inside')
  assert.is(await code(inputs.list('good')), 'ENOTDIR')
  // What was refused is part of what was seen, and holds.
  assert.is(await why(inputs), 'holds')
  await fs.rm(path.join(root, 'd/up'))
  await fs.writeFile(path.join(root, 'd/up'), 'now a file')
  assert.is(await why(inputs), 'up was replaced')
  server.close()
})

test('another filesystem below is not entered', async (context) => {
  if (!isRoot) return
  const below = path.join(context.root, 'below')
  await fs.mkdir(below)
  await run('mount', ['-t', 'tmpfs', 'none', below])
  try {
    await fs.writeFile(path.join(below, 'f'), '')
    const volume = await openVolume(context.root)
    assert.is(await code(volume.keyOf('below')), 'EXDEV')
    const inputs = await volume.inputs(await volume.keyOf(''), self)
    assert.is(await code(inputs.open('below/f')), 'EXDEV')
    volume.close()
  } finally {
    await run('umount', ['-l', below])
  }
})

test('listings are byte-sorted, with kinds', async (context) => {
  const { root } = context
  await fs.writeFile(path.join(root, 'b'), '')
  await fs.writeFile(path.join(root, 'é'), '')
  await fs.writeFile(path.join(root, 'Z'), '')
  await fs.mkdir(path.join(root, 'a'))
  await fs.symlink('b', path.join(root, 'l'))
  const inputs = await session(context)
  assert.equal(
    (await inputs.list('')).map(({ name, kind }) => `${name} ${kind}`),
    ['Z file', 'a directory', 'b file', 'l symlink', 'é file'],
  )
})

test('every look is an identity, and each change is noticed', async (context) => {
  const file = path.join(context.root, 'd/f')
  const changes: [string, () => Promise<unknown>, string][] = [
    ['nothing', async () => undefined, 'holds'],
    ['same size', () => fs.writeFile(file, 'two'), 'd/f was written'],
    ['growth', () => fs.appendFile(file, 'x'), 'd/f changed its size'],
    ['attributes', () => fs.chmod(file, 0o600), 'd/f changed its attributes'],
    ['removal', () => fs.rm(file), 'd/f is gone'],
    [
      'replacement',
      async () => {
        await fs.writeFile(`${file}.new`, 'one')
        await fs.rename(`${file}.new`, file)
      },
      'd/f was replaced',
    ],
    [
      'the same times again',
      async () => {
        const { atime, mtime } = await fs.stat(file)
        await fs.writeFile(file, 'two')
        await fs.utimes(file, atime, mtime)
      },
      'd/f was written',
    ],
  ]
  for (const [name, change, expected] of changes) {
    await fs.mkdir(path.join(context.root, 'd'))
    await fs.writeFile(file, 'one')
    const inputs = await session(context)
    assert.is(await contentOf(inputs, 'd/f'), 'one')
    await change()
    assert.is(await why(inputs), expected, name)
    await fs.rm(path.join(context.root, 'd'), { recursive: true })
  }
})

test('negative lookups, listings and attributes are inputs', async (context) => {
  const { root } = context
  await fs.mkdir(path.join(root, 'd'))
  await fs.writeFile(path.join(root, 'd/seen'), 'x')

  const negative = await session(context)
  assert.is(await code(negative.open('missing')), 'ENOENT')
  assert.is(await code(negative.stat('none/at/all')), 'ENOENT')
  assert.is(await why(negative), 'holds')
  assert.equal(
    negative.identities().map(({ path, kind }) => [path, kind]),
    [
      ['missing', 'missing'],
      ['none/at/all', 'missing'],
    ],
  )
  await fs.mkdir(path.join(root, 'none'))
  assert.is(await why(negative), 'holds')
  await fs.writeFile(path.join(root, 'missing'), '')
  assert.is(await why(negative), 'missing appeared')

  const listing = await session(context)
  await listing.list('d')
  assert.is(await why(listing), 'holds')
  await fs.writeFile(path.join(root, 'd/new'), '')
  assert.match(await why(listing), /^d was written|^d changed/)

  const attributes = await session(context)
  assert.is((await attributes.stat('d/seen')).sizeBytes, 1)
  assert.is(await why(attributes), 'holds')
  await fs.chmod(path.join(root, 'd/seen'), 0o600)
  assert.is(await why(attributes), 'd/seen changed its attributes')
})

test('a reused inode number is another file', async (context) => {
  const file = path.join(context.root, 'f')
  const seen = new Set<bigint>()
  for (let round = 0; round < 20; round += 1) {
    await fs.writeFile(file, 'same')
    const inputs = await session(context)
    assert.is(await contentOf(inputs, 'f'), 'same')
    seen.add((await fs.stat(file, { bigint: true })).ino)
    await fs.rm(file)
    await fs.writeFile(file, 'same')
    assert.is.not(await why(inputs), 'holds')
    await fs.rm(file)
  }
  const directory = path.join(context.root, 'd')
  await fs.mkdir(directory)
  const listing = await session(context)
  await listing.list('d')
  await fs.rmdir(directory)
  await fs.mkdir(directory)
  assert.is.not(await why(listing), 'holds')
})

test('racing writers never leave a stale identity that holds', async (context) => {
  const file = path.join(context.root, 'f')
  let stale = 0
  for (let round = 0; round < 300; round += 1) {
    await fs.writeFile(file, 'a'.repeat(8))
    const inputs = await session(context)
    const [content] = await Promise.all([contentOf(inputs, 'f'), fs.writeFile(file, 'b'.repeat(8))])
    const validation = await inputs.validate('look')
    if (validation.holds && content !== (await fs.readFile(file, 'utf8'))) stale += 1
  }
  assert.is(stale, 0)
})

test('a store to a mapping is noticed, the second one too', async (context) => {
  const file = path.join(context.root, 'mapped')
  await fs.writeFile(file, 'a'.repeat(4096))
  // Stores the next letter at each line that it is sent, to a page that stays dirty.
  const writer = spawn(
    'python3',
    [
      '-c',
      `import mmap,sys
f=open(sys.argv[1],'r+b'); m=mmap.mmap(f.fileno(),0)
for i,_ in enumerate(sys.stdin): m[0]=66+i; print('ok',flush=True)`,
      file,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const store = async (): Promise<void> => {
    const answered = new Promise((resolve) => writer.stdout.once('data', resolve))
    writer.stdin.write('\n')
    await answered
  }
  try {
    await store()
    for (const letter of ['B', 'C']) {
      const inputs = await session(context)
      assert.is((await contentOf(inputs, 'mapped'))[0], letter)
      // The kernel stamps before it stores: what is mapped and was stamped just now is not trusted.
      assert.match(await why(inputs), 'may have changed unseen')
      await store()
      assert.is.not(await why(inputs, 'end'), 'holds', `after ${letter}`)
    }
    await sleep(2_100)
    const inputs = await session(context)
    assert.is((await contentOf(inputs, 'mapped'))[0], 'D')
    assert.is(await why(inputs), 'holds', 'an idle mapping changes nothing')
    await store()
    assert.is.not(await why(inputs), 'holds')
  } finally {
    writer.stdin.end()
    await new Promise((resolve) => writer.once('exit', resolve))
  }
})

test('an input session bounds what it looks at', async (context) => {
  const volume = await openVolume(context.root, { maxInputs: 3 })
  const inputs = await volume.inputs(await volume.keyOf(''), self)
  for (const name of ['a', 'b', 'a', 'c', 'b']) assert.is(await code(inputs.open(name)), 'ENOENT')
  assert.is(await code(inputs.open('d')), 'EMFILE')
  volume.close()
})

test('identities survive a restart', async (context) => {
  const { root, volume } = context
  await fs.writeFile(path.join(root, 'f'), 'x')
  const inputs = await session(context)
  await contentOf(inputs, 'f')
  await inputs.list('')
  await code(inputs.open('none'))
  const identities = inputs.identities()
  const key = await volume.keyOf('')
  const restored = await volume.restoreInputs(key, self, identities)
  assert.equal(restored.identities(), identities)
  assert.is(await why(restored), 'holds')
  await fs.writeFile(path.join(root, 'f'), 'y')
  assert.is.not(await why(restored), 'holds')
})

test('each principal reads what it may', async (context) => {
  if (!isRoot) return
  const { root, volume } = context
  const make = async (name: string, uid: number, gid: number, mode: number): Promise<void> => {
    await fs.writeFile(path.join(root, name), name)
    await fs.chown(path.join(root, name), uid, gid)
    await fs.chmod(path.join(root, name), mode)
  }
  await make('alice', 7001, 7001, 0o600)
  await make('group', 0, 7100, 0o640)
  await make('all', 0, 0, 0o644)
  await make('root', 0, 0, 0o600)
  await fs.mkdir(path.join(root, 'closed'), { mode: 0o700 })
  await make('closed/f', 0, 0, 0o644)
  const outcome = async (principal: Principal, name: string): Promise<string> => {
    const inputs = await session(context, principal)
    return contentOf(inputs, name).catch((error: unknown) => (error as VfsError).code)
  }
  const names = ['alice', 'group', 'all', 'root', 'closed/f']
  const rights: [Principal, string[]][] = [
    [ALICE, ['alice', 'group', 'all', 'EACCES', 'EACCES']],
    [BOB, ['EACCES', 'EACCES', 'all', 'EACCES', 'EACCES']],
    [self, names],
  ]
  // All at once, so that one thread's identity would be seen in another's work.
  const jobs = Array.from({ length: 8 }).flatMap(() =>
    rights.flatMap(([principal, expected]) =>
      names.map(async (name, at) => assert.is(await outcome(principal, name), expected[at], name)),
    ),
  )
  await Promise.all(jobs)

  const key = await volume.keyOf('')
  assert.equal(
    await Promise.all([
      volume.access(key, ALICE, 'rx'),
      volume.access(key, ALICE, 'w'),
      volume.access(key, self, 'wx'),
      volume.access(await volume.keyOf('closed'), BOB, 'x'),
    ]),
    [true, false, true, false],
  )
  // A right that is given or taken changes what a run would see.
  const inputs = await session(context, BOB)
  assert.is(await code(inputs.open('closed/f')), 'EACCES')
  assert.is(await why(inputs), 'holds')
  await fs.chmod(path.join(root, 'closed'), 0o755)
  assert.is.not(await why(inputs), 'holds')
})

test('results are readable as far as every input is', async (context) => {
  if (!isRoot) return
  const { root } = context
  await fs.mkdir(path.join(root, 'd'))
  const cases: [string, number, number, number][] = [
    // name, gid, mode, what others may
    ['open', 7001, 0o644, 0o044],
    ['others-group', 7002, 0o644, 0o044],
    ['group', 7001, 0o640, 0o040],
    ['private', 7001, 0o600, 0],
    ['not-my-group', 7002, 0o640, 0],
    ['group-shut-out', 7001, 0o604, 0],
  ]
  for (const [name, gid, mode, expected] of cases) {
    const file = path.join(root, 'd', name)
    await fs.writeFile(file, '')
    await fs.chown(file, 7001, gid)
    await fs.chmod(file, mode)
    const inputs = await session(context)
    await contentOf(inputs, `d/${name}`)
    assert.is(await inputs.readableMode(7001), expected, name)
  }
  const both = await session(context)
  await contentOf(both, 'd/open')
  assert.is(await both.readableMode(7001), 0o044)
  await run('setfacl', ['-m', 'u:7002:---', path.join(root, 'd/open')])
  assert.is(await both.readableMode(7001), 0, 'an ACL says more than bits')
  await run('setfacl', ['-b', path.join(root, 'd/open')])
  await fs.chmod(path.join(root, 'd'), 0o700)
  assert.is(await both.readableMode(7001), 0, 'its directory is closed')
})

test('who may search the directories on the way to an input is looked at again', async (context) => {
  const { root } = context
  const at = (name: string): string => path.join(root, name)
  await fs.mkdir(at('way/deep'), { recursive: true })
  for (const name of ['one', 'way/deep/in', 'two', 'way/deep/other'])
    await fs.writeFile(at(name), 'x')
  const inputs = await session(context)
  for (const name of ['one', 'way/deep/in', 'two', 'way/deep/other']) await contentOf(inputs, name)
  assert.is(await inputs.readableMode(self.gid), 0o044)
  const holds = async (): Promise<boolean> => (await inputs.validate('look')).holds
  await fs.writeFile(at('way/deep/beside'), '')
  assert.ok(await holds(), 'what comes and goes beside it is another matter')
  for (const [directory, change] of [
    ['way', () => fs.chmod(at('way'), 0o700)],
    ['way/deep', () => fs.chmod(at('way/deep'), 0o750)],
    ['way/deep', () => run('setfacl', ['-m', 'u:7002:---', at('way/deep')])],
  ] as const) {
    await change()
    assert.not.ok(await holds(), directory)
    await run('setfacl', ['-b', at(directory)])
    await fs.chmod(at(directory), 0o755)
    assert.ok(await holds(), `${directory} as before`)
  }
})

test('what is renamed or put in an input’s place makes no result more readable', async (context) => {
  const { root } = context
  const at = (name: string): string => path.join(root, name)
  await fs.mkdir(at('closed'), { mode: 0o700 })
  await fs.writeFile(at('closed/in'), '')
  await fs.chmod(at('closed/in'), 0o644)
  await fs.writeFile(at('secret'), '')
  await fs.chmod(at('secret'), 0o600)
  await fs.symlink('closed/in', at('link'))

  const secret = await session(context)
  await contentOf(secret, 'secret')
  await fs.rename(at('secret'), at('away'))
  assert.is(await secret.readableMode(self.gid), 0, 'renamed away')
  await fs.writeFile(at('secret'), '', { mode: 0o644 })
  assert.is(await secret.readableMode(self.gid), 0, 'replaced')

  const below = await session(context)
  await contentOf(below, 'closed/in')
  await fs.rename(at('closed'), at('moved'))
  await fs.mkdir(at('closed'), { mode: 0o755 })
  assert.is(await below.readableMode(self.gid), 0, 'another directory, without it')
  await fs.writeFile(at('closed/in'), '', { mode: 0o644 })
  assert.is(await below.readableMode(self.gid), 0, 'another directory, with another file')
  await fs.rm(at('closed'), { recursive: true })
  await fs.rename(at('moved'), at('closed'))
  assert.is(await below.readableMode(self.gid), 0, 'back again')

  const attributes = await session(context)
  await attributes.stat('link')
  assert.is(await attributes.readableMode(self.gid), 0, 'attributes from behind a link')

  const absent = await session(context)
  assert.is(await code(absent.stat('none')), 'ENOENT')
  assert.is(await code(absent.stat('none/at/all')), 'ENOENT')
  assert.is(await absent.readableMode(self.gid), 0o044, 'what is absent is no secret')
})

test('who may not search what is on the way has no key of what is behind it', async (context) => {
  if (!isRoot) return
  const { root, volume } = context
  await fs.mkdir(path.join(root, 'closed/open'), { recursive: true })
  await fs.chmod(path.join(root, 'closed'), 0o700)
  await fs.symlink('closed/open', path.join(root, 'link'))
  for (const at of ['closed/open', 'closed/none', 'closed/.', 'link']) {
    assert.is(await code(volume.keyOf(at, BOB)), 'EACCES', at)
    if (at !== 'closed/none') assert.is(await code(volume.keyOf(at, self)), 'none', at)
  }
  assert.is(await volume.keyOf('closed', BOB), await volume.keyOf('closed'))
})

test('a link on the way to a backing counts only if it is root’s or our own', async ({ root }) => {
  if (!isRoot) return
  const at = (name: string): string => `${root}/${name}`
  await fs.mkdir(at('real/tree'), { recursive: true })
  const links = { absolute: at('real/tree'), relative: 'real/tree', twice: 'relative', up: 'real' }
  for (const [name, target] of Object.entries(links)) await fs.symlink(target, at(name))
  const opened = ['absolute', 'relative', 'twice', 'up/tree', 'up/../real/./tree/']
  for (const name of opened) {
    const volume = await openVolume(at(name))
    assert.is(await volume.keyOf(''), await keyOfRoot(at('real/tree')), name)
    volume.close()
  }
  for (const name of Object.keys(links)) await fs.lchown(at(name), 7001, 7001)
  for (const name of opened) assert.is(await code(openVolume(at(name))), 'EPERM', name)
  await fs.symlink('round', at('round'))
  assert.is(await code(openVolume(at('round'))), 'ELOOP')
  await fs.writeFile(at('file'), '')
  assert.is(await code(openVolume(at('file'))), 'ENOTDIR')
  assert.is(await code(openVolume(at('none/tree'))), 'ENOENT')
})

async function keyOfRoot(backing: string): Promise<string> {
  const volume = await openVolume(backing)
  const key = await volume.keyOf('')
  volume.close()
  return key
}

test('identities are made once, until something else is looked at', async (context) => {
  const inputs = await session(context)
  await code(inputs.stat('a'))
  const first = inputs.identities()
  assert.is(inputs.identities(), first)
  assert.is(first.length, 1)
  await code(inputs.open('b'))
  assert.is(inputs.identities().length, 2)
})

test('what a program names is bounded in bytes too', async (context) => {
  const inputs = await session(context)
  const long = Array.from({ length: 15 }, () => 'n'.repeat(250)).join('/')
  let refused = 'ENOENT'
  let asked = 0
  for (; refused === 'ENOENT' && asked < 20_000; asked += 1)
    refused = await code(inputs.stat(`absent-${asked}/${long}`))
  assert.is(refused, 'EMFILE')
  assert.ok(asked < 10_000, `${asked} names of ${long.length} bytes`)
})

test('tmpfs: what may be mapped never holds, the rest does', async () => {
  if (!isRoot) return
  const root = await fs.mkdtemp('/dev/shm/insitu-inputs-')
  try {
    const volume = await openVolume(root)
    await fs.writeFile(path.join(root, 'f'), 'x')
    const quiet = await volume.inputs(await volume.keyOf(''), self)
    await contentOf(quiet, 'f')
    assert.is(await why(quiet), 'holds')
    const writer = await fs.open(path.join(root, 'f'), 'r+')
    const open = await volume.inputs(await volume.keyOf(''), self)
    await contentOf(open, 'f')
    assert.is(await why(open), 'f may have changed unseen')
    const persisted = open.identities()
    await writer.close()
    assert.is(await why(quiet), 'holds')
    const restored = await volume.restoreInputs(await volume.keyOf(''), self, persisted)
    assert.is.not(await why(restored), 'holds')
    // A mapping that is stored to after the file was read changes no time, here.
    const later = await fs.open(path.join(root, 'f'), 'r+')
    assert.match(await why(quiet), /^f is open for writing/)
    await later.close()
    volume.close()
  } finally {
    await fs.rm(root, { recursive: true })
  }
})

test.run()
