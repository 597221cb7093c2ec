/** Parts of the file server over fuse-native that need no mount. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { statWords, statfsWords } from '../../src/file-server/fuse-native/attributes.ts'
import { Backing } from '../../src/file-server/fuse-native/backing.ts'
import { Conversation } from '../../src/file-server/fuse-native/conversation.ts'
import { placeOf } from '../../src/file-server/fuse-native/places.ts'
import { Waits } from '../../src/file-server/fuse-native/waits.ts'

const test = suite<{ scratch: string; backing: Backing }>('parts of fuse-native')

test.before.each((context) => {
  context.scratch = fs.mkdtempSync(path.join(tmpdir(), 'insitu-backing-'))
  fs.mkdirSync(path.join(context.scratch, 'in/a/b'), { recursive: true })
  fs.writeFileSync(path.join(context.scratch, 'in/a/b/f'), 'inside')
  fs.mkdirSync(path.join(context.scratch, 'out/b'), { recursive: true })
  fs.writeFileSync(path.join(context.scratch, 'out/b/f'), 'outside')
  context.backing = new Backing(path.join(context.scratch, 'in'))
})
test.after.each(({ scratch, backing }) => {
  backing.close()
  fs.rmSync(scratch, { recursive: true })
})

function read(backing: Backing, at: string): string {
  try {
    return fs.readFileSync(backing.at(at), 'utf8')
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}

test('a link in the place of a directory leads nowhere', ({ scratch, backing }) => {
  const inside = path.join(scratch, 'in')
  for (const known of [false, true]) {
    if (known) assert.is(read(backing, '/a/b/f'), 'inside')
    fs.renameSync(path.join(inside, 'a'), path.join(inside, 'moved'))
    fs.symlinkSync('../out', path.join(inside, 'a'))
    assert.is(read(backing, '/a/b/f'), 'ENOTDIR', known ? 'it was known' : 'it was not')
    assert.is(read(backing, '/moved/b/f'), 'inside')
    fs.unlinkSync(path.join(inside, 'a'))
    fs.renameSync(path.join(inside, 'moved'), path.join(inside, 'a'))
  }
})

test('a known directory is where it was, or it is looked for again', ({ scratch, backing }) => {
  assert.is(read(backing, '/a/b/f'), 'inside')
  fs.renameSync(path.join(scratch, 'in/a/b'), path.join(scratch, 'in/c'))
  assert.is(read(backing, '/a/b/f'), 'ENOENT')
  assert.is(read(backing, '/c/f'), 'inside')
  fs.renameSync(path.join(scratch, 'in/c'), path.join(scratch, 'out/c'))
  assert.is(read(backing, '/c/f'), 'ENOENT')
  // The backing itself may go elsewhere.
  fs.renameSync(path.join(scratch, 'in'), path.join(scratch, 'elsewhere'))
  fs.mkdirSync(path.join(scratch, 'in'))
  fs.mkdirSync(path.join(scratch, 'elsewhere/x'))
  fs.writeFileSync(path.join(scratch, 'elsewhere/x/f'), 'moved along')
  assert.is(read(backing, '/x/f'), 'moved along')
})

test('paths that are none, and names that were lost', ({ backing }) => {
  for (const at of ['/../out/b/f', '/a/../../out/b/f', '/a/./b/f', '/a//f', '/..', '/a/'])
    assert.is(read(backing, at), 'EINVAL', at)
  assert.is(read(backing, '/a\ufffd/f'), 'EILSEQ')
})

test('directories deeper than a path can tell', ({ scratch, backing }) => {
  const name = 'x'.repeat(200)
  let deep = ''
  for (let level = 0; level < 30; level += 1) {
    deep += `/${name}`
    fs.mkdirSync(backing.at(deep))
  }
  fs.writeFileSync(backing.at(`${deep}/f`), 'deep')
  assert.is(read(backing, `${deep}/f`), 'deep')
  for (let level = 30; level > 0; level -= 1) {
    if (level === 30) fs.unlinkSync(backing.at(`${deep}/f`))
    fs.rmdirSync(backing.at(deep))
    deep = deep.slice(0, -201)
  }
  assert.equal(fs.readdirSync(path.join(scratch, 'in')), ['a'])
})

test('places', () => {
  const reserved = { compute: '.compute', results: '.results', query: '.query' }
  const real = new Set(['/real/.results', '/real/.compute'])
  const kind = (at: string): string => {
    const place = placeOf(at, reserved, (each) => real.has(each))
    return place === undefined ? 'ordinary' : `${place.kind} of '${place.directory}'`
  }
  assert.equal(
    ['/', '/.compute', '/a/.query', '/a/b/.results', '/a/.results/x', '/a/.results/.log'].map(kind),
    [
      'ordinary',
      "compute of ''",
      "query of 'a'",
      "results of 'a/b'",
      "result of 'a'",
      "control of 'a'",
    ],
  )
  assert.equal(
    [
      '/.results/.last',
      '/.results/.last/x',
      '/.results/.x',
      '/.results/x/y',
      '/.results/.last/x/y',
    ].map(kind),
    ["last of ''", "last-result of ''", "nothing of ''", "nothing of ''", "nothing of ''"],
  )
  assert.equal(
    [
      '/real/.results',
      '/real/.results/x',
      '/real/.results/.results',
      '/real/.compute',
      '/.compute/x',
    ].map(kind),
    ['ordinary', 'ordinary', "results of 'real/.results'", 'ordinary', 'ordinary'],
  )
})

test('waits are bounded in time and number, and end with the mount', async () => {
  const code = async (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => 'done',
      (error: unknown) => String((error as { code?: unknown }).code),
    )
  const never = (): Promise<never> => new Promise(() => {})
  assert.is(await code(new Waits(5).bounded(never)), 'EAGAIN')
  const waits = new Waits(60_000)
  let aborted = false
  const waiting = code(
    waits.bounded((signal) => {
      signal.addEventListener('abort', () => (aborted = true))
      return never()
    }),
  )
  const others = Array.from({ length: 63 }, () => code(waits.bounded(never)))
  assert.is(await code(waits.bounded(never)), 'EAGAIN')
  assert.is(waits.count, 64)
  waits.abortAll()
  assert.is(await waiting, 'ENOTCONN')
  await Promise.all(others)
  assert.ok(aborted)
  assert.is(waits.count, 0)
})

test('a conversation is a file that grows', async () => {
  const asked: string[] = []
  const answers: (string | Error)[] = ['answer', '', new Error('failed'), 'why', '']
  const conversation = new Conversation(
    {
      write: async (data) => void asked.push(Buffer.from(data).toString()),
      read: async () => {
        const next = answers.shift()
        if (next instanceof Error) throw next
        return Buffer.from(next ?? '')
      },
      release: () => asked.push('released'),
    },
    (sizeBytes) => ({ sizeBytes }) as Awaited<ReturnType<Conversation['attributes']>>,
    () => {},
  )
  await conversation.write(Buffer.from('ask'), 0)
  assert.is((await conversation.attributes()).sizeBytes, 9)
  const into = Buffer.alloc(20)
  assert.is(await conversation.read(into, 3), 6)
  assert.is(into.toString('utf8', 0, 6), 'answer')
  // Half of the answer is left unread.
  await conversation.write(Buffer.from('again'), 5)
  try {
    await conversation.attributes()
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).message, 'failed')
  }
  assert.is((await conversation.attributes()).sizeBytes, 13)
  conversation.release()
  assert.equal(asked, ['ask', 'again', 'released'])
})

test('words', () => {
  const words = statWords({
    mode: 0o100644,
    uid: 1,
    gid: 2,
    sizeBytes: 5 * 2 ** 32 + 7,
    nlink: 0,
    ino: 9,
    rdev: 0,
    blksize: 4096,
    blocks: 8,
    atimeMs: -1000.5,
    mtimeMs: 1_700_000_000_123.9,
    ctimeMs: 0,
  })
  assert.equal([words[3], words[4], words[6]], [7, 5, 0])
  assert.equal([words[12], words[13]], [0, 0], 'before 1970')
  assert.is((words[14] ?? 0) + (words[15] ?? 0) * 2 ** 32, 1_700_000_000_123)
  const large = {
    type: 0,
    bsize: 4096,
    blocks: 2 ** 34,
    bfree: 2 ** 33,
    bavail: 2 ** 33,
    files: 2 ** 33,
    ffree: 1,
  }
  assert.equal([...statfsWords(large as fs.StatsFs)].slice(0, 6), [
    32768,
    32768,
    2 ** 31,
    2 ** 30,
    2 ** 30,
    2 ** 32 - 1,
  ])
})

test.run()
