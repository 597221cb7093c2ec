import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { VfsError } from '../../src/errors.ts'
import type { Caller, VirtualNode } from '../../src/file-server/types.ts'
import {
  ALICE,
  APPEND,
  BOB,
  CREATE,
  DIRECTORY,
  VirtualShell,
  codeOf,
  settle,
} from './virtual-shell.ts'

const { O_EXCL, O_RDONLY, O_RDWR, O_WRONLY } = constants
const test = suite('program files')

/** `+text` writes at the end, `@N text` at an offset, `=N` truncates, `f` flushes, `r` releases. */
type Step = string

interface Case {
  readonly name: string
  readonly before?: string
  readonly flags?: number
  readonly steps: readonly Step[]
  readonly calls: readonly string[]
  readonly after: string | undefined
}

const CASES: readonly Case[] = [
  {
    name: 'a flush before the first write is nothing',
    steps: ['f', '+a', 'f', 'r'],
    calls: ['stage a'],
    after: 'a',
  },
  {
    name: 'many flushes of the same bytes are one',
    steps: ['+a', 'f', 'f', 'f', 'r'],
    calls: ['stage a'],
    after: 'a',
  },
  {
    name: 'a later write supersedes',
    steps: ['+a', 'f', '+b', 'f', 'r'],
    calls: ['stage a', 'stage ab'],
    after: 'ab',
  },
  {
    name: 'bytes that no flush saw are staged at release',
    steps: ['+a', 'r'],
    calls: ['stage a'],
    after: 'a',
  },
  { name: 'created and left empty is nothing', steps: ['f', 'r'], calls: [], after: undefined },
  {
    name: 'truncated and left empty detaches',
    before: 'a',
    steps: ['f', 'r'],
    calls: ['detach by 1001'],
    after: undefined,
  },
  {
    name: 'a flush of an emptied file does not detach yet',
    before: 'a',
    steps: ['f'],
    calls: [],
    after: 'a',
  },
  {
    name: 'an open without truncation changes nothing',
    before: 'a',
    flags: O_WRONLY,
    steps: ['f', 'r'],
    calls: [],
    after: 'a',
  },
  {
    name: 'an append starts from the program',
    before: 'ab',
    flags: APPEND,
    steps: ['+c', 'f', 'r'],
    calls: ['stage abc'],
    after: 'abc',
  },
  {
    name: 'without truncation it overwrites in place',
    before: 'abc',
    flags: O_WRONLY,
    steps: ['@0 x', 'f', 'r'],
    calls: ['stage xbc'],
    after: 'xbc',
  },
  {
    name: 'holes are zeros',
    steps: ['@3 x', 'f', 'r'],
    calls: ['stage \0\0\0x'],
    after: '\0\0\0x',
  },
  {
    name: 'what was cut does not come back',
    steps: ['+abc', '=1', '=3', 'f', 'r'],
    calls: ['stage a\0\0'],
    after: 'a\0\0',
  },
  {
    name: 'ftruncate shortens',
    before: 'abc',
    flags: O_WRONLY,
    steps: ['=2', 'f', 'r'],
    calls: ['stage ab'],
    after: 'ab',
  },
  {
    name: 'emptied after it was staged detaches',
    steps: ['+a', 'f', '=0', 'f', 'r'],
    calls: ['stage a', 'detach by 1001'],
    after: undefined,
  },
  {
    name: 'the same bytes are unchanged',
    before: 'a',
    steps: ['+a', 'f', 'r'],
    calls: ['stage a'],
    after: 'a',
  },
]

for (const { name, before, flags = CREATE, steps, calls, after } of CASES) {
  test(name, async () => {
    const shell = new VirtualShell()
    if (before !== undefined) await shell.attach(before)
    const handle = await shell.open(flags)
    for (const step of steps) {
      const rest = step.slice(1)
      if (step === 'f') await shell.flush(handle)
      else if (step === 'r') await shell.release(handle)
      else if (step.startsWith('=')) await shell.truncate(handle, Number(rest))
      else if (step.startsWith('+')) await shell.write(handle, rest, 0, true)
      else await shell.write(handle, rest.split(' ')[1] ?? '', Number(rest.split(' ')[0]))
    }
    assert.equal(shell.compute.calls, calls)
    assert.is(shell.program, after)
    if (steps.at(-1) === 'r') assert.is(shell.entry === undefined, after === undefined)
  })
}

test('exists from the first open for writing, and readers get what is there', async () => {
  const shell = new VirtualShell()
  const writer = await shell.open(CREATE)
  assert.is(shell.entry?.writing, true)
  await shell.write(writer, 'abc')
  const { attributes } = await shell.ask({
    op: 'getattr',
    node: { kind: 'compute', directory: DIRECTORY },
  })
  assert.is(attributes?.sizeBytes, 3)
  assert.is(await shell.read(await shell.open(O_RDONLY)), 'abc')
  await shell.close(writer)
  assert.is(shell.entry?.writing, false)
})

test('readers keep the attached program until a flush replaces it, and their own bytes then', async () => {
  const shell = new VirtualShell()
  await shell.attach('old')
  const reader = await shell.open(O_RDONLY)
  const writer = await shell.open(CREATE)
  await shell.write(writer, 'newer')
  assert.is(await shell.read(await shell.open(O_RDONLY)), 'old')
  await shell.flush(writer)
  assert.is(await shell.read(await shell.open(O_RDONLY)), 'newer')
  assert.is(await shell.read(reader), 'old')
  assert.is(await shell.read(reader, { offset: 3 }), '')
})

test('a descriptor that reads and writes reads what it wrote', async () => {
  const shell = new VirtualShell()
  const handle = await shell.open(O_RDWR | constants.O_CREAT)
  await shell.write(handle, 'abc')
  assert.is(await shell.read(handle, { offset: 1 }), 'bc')
})

test('a program that does not compile fails each close that brings it, and stays attached', async () => {
  const shell = new VirtualShell()
  for (let time = 0; time < 2; time += 1) {
    const handle = await shell.open(CREATE)
    await shell.write(handle, 'broken')
    assert.is(await codeOf(shell.flush(handle)), 'ENOEXEC')
    assert.is(await codeOf(shell.flush(handle)), 'ok')
    await shell.release(handle)
    assert.is(shell.program, 'broken')
  }
})

test('the staged program is the opener’s, whoever writes', async () => {
  const shell = new VirtualShell()
  await shell.attach('a', BOB)
  assert.equal(shell.compute.attached.get(DIRECTORY)?.principal, {
    uid: 1002,
    gid: 1002,
    groups: [],
  })
  await shell.attach('b', ALICE)
  assert.equal(shell.compute.attached.get(DIRECTORY)?.principal, {
    uid: 1001,
    gid: 1001,
    groups: [50],
  })
})

for (const [call, code] of [
  ['mayAttach', 'EACCES'],
  ['mayAttach', 'EPERM'],
  ['stage', 'EDQUOT'],
] as const) {
  test(`${code} of ${call} leaves everything as it was`, async () => {
    const shell = new VirtualShell()
    await shell.attach('old')
    shell.compute.refusals.set(call, new VfsError(code, 'refused'))
    const write = async (): Promise<void> => {
      const handle = await shell.open(CREATE)
      await shell.write(handle, 'new')
      await shell.close(handle)
    }
    assert.is(await codeOf(write()), code)
    assert.is(shell.program, 'old')
    assert.is(shell.entry?.writing, false)
  })
}

test('a refused first program leaves no .compute behind', async () => {
  const shell = new VirtualShell()
  const handle = await shell.open(CREATE)
  await shell.write(handle, 'a')
  shell.compute.refusals.set('stage', new VfsError('EDQUOT', 'refused'))
  assert.is(await codeOf(shell.close(handle)), 'EDQUOT')
  assert.is(shell.entry, undefined)
  assert.is(await codeOf(shell.open(O_RDONLY)), 'ESTALE')
})

test('over the bound the write fails, and the first part alone is never attached', async () => {
  const shell = new VirtualShell()
  await shell.attach('old')
  const handle = await shell.open(CREATE)
  await shell.write(handle, 'x'.repeat(90))
  assert.is(await codeOf(shell.write(handle, 'x'.repeat(20), 90)), 'EFBIG')
  assert.is(await codeOf(shell.flush(handle)), 'EFBIG')
  await shell.release(handle)
  assert.is(shell.program, 'old')
})

test('an emptied file may be written anew after a write was refused', async () => {
  const shell = new VirtualShell()
  const handle = await shell.open(CREATE)
  assert.is(await codeOf(shell.write(handle, 'x'.repeat(101))), 'EFBIG')
  await shell.truncate(handle, 0)
  await shell.write(handle, 'a')
  await shell.close(handle)
  assert.is(shell.program, 'a')
})

test('of two writers the last flush wins, whichever compiles longer', async () => {
  const shell = new VirtualShell()
  const compiler = Promise.withResolvers<void>()
  const [first, second] = [await shell.open(CREATE), await shell.open(CREATE)]
  await shell.write(first, 'first')
  await shell.write(second, 'second')
  shell.compute.compiler = compiler.promise
  const flushed = shell.flush(first)
  await settle()
  shell.compute.compiler = undefined
  const flushedToo = shell.flush(second)
  await settle()
  assert.equal(shell.compute.calls, ['stage first'])
  compiler.resolve()
  await Promise.all([flushed, flushedToo])
  assert.is(shell.program, 'second')
})

test('an emptied file that is closed late does not take a newer program away', async () => {
  const shell = new VirtualShell()
  await shell.attach('old')
  const emptier = await shell.open(CREATE)
  const writer = await shell.open(CREATE)
  await shell.write(writer, 'new')
  await shell.close(writer)
  await shell.close(emptier)
  assert.is(shell.program, 'new')
})

test('rm detaches, and who has it open writes to nothing', async () => {
  const shell = new VirtualShell()
  await shell.attach('old')
  const orphan = await shell.open(CREATE)
  await shell.write(orphan, 'late')
  await shell.unlink()
  assert.is(shell.entry, undefined)
  // A new writer of the same name is not disturbed by the end of the old one.
  const writer = await shell.open(CREATE)
  await shell.write(writer, 'new')
  await shell.close(orphan)
  assert.is(shell.entry?.writing, true)
  assert.is(await shell.read(await shell.open(O_RDONLY)), 'new')
  await shell.close(writer)
  assert.is(shell.program, 'new')
  assert.equal(shell.compute.calls, ['detach by 1001', 'stage new'])
})

test('rm of a program that is written for the first time', async () => {
  const shell = new VirtualShell()
  const orphan = await shell.open(CREATE)
  await shell.write(orphan, 'a')
  await shell.unlink()
  assert.is(shell.entry, undefined)
  await shell.close(orphan)
  assert.is(shell.program, undefined)
  assert.is(await codeOf(shell.unlink()), 'ENOENT')
})

test('O_EXCL refuses what exists', async () => {
  const shell = new VirtualShell()
  await shell.attach('a')
  const open = shell.ask({
    op: 'open',
    node: { kind: 'compute', directory: DIRECTORY },
    flags: CREATE | O_EXCL,
    created: true,
    caller: ALICE,
  })
  assert.is(await codeOf(open), 'EEXIST')
})

test('truncate by name', async () => {
  const shell = new VirtualShell()
  await shell.attach('abc')
  await shell.truncate(undefined, 1)
  assert.is(shell.program, 'a')
  await shell.truncate(undefined, 0)
  await settle()
  assert.is(shell.program, undefined)
})

test('a directory that is gone takes its writers along', async () => {
  const shell = new VirtualShell()
  await shell.attach('a')
  const writer = await shell.open(CREATE)
  await shell.write(writer, 'b')
  await shell.ask({ op: 'forget-directory', directory: DIRECTORY })
  await shell.close(writer)
  assert.equal(shell.compute.calls, ['forget'])
})

test('handles and held bytes are bounded, and come back', async () => {
  const shell = new VirtualShell({ handles: 2, heldBytes: 100 })
  const first = await shell.open(CREATE)
  const second = await shell.open(CREATE)
  assert.is(await codeOf(shell.open(CREATE)), 'ENFILE')
  await shell.write(first, 'x'.repeat(80))
  assert.is(await codeOf(shell.write(second, 'x'.repeat(80))), 'ENOBUFS')
  await shell.close(first)
  assert.is(await codeOf(shell.flush(second)), 'EFBIG')
  await shell.truncate(second, 0)
  await shell.write(second, 'x'.repeat(80))
  await shell.close(second)
  // Readers hold bytes too.
  const reader = await shell.open(O_RDONLY)
  assert.is(await codeOf(shell.open(O_RDONLY)), 'ENOBUFS')
  await shell.close(reader)
  await shell.write(await shell.open(CREATE), 'x'.repeat(80))
})

test('after the end nothing is answered', async () => {
  const shell = new VirtualShell()
  const handle = await shell.open(CREATE)
  await shell.write(handle, 'a')
  await shell.files.close()
  assert.is(shell.program, 'a')
  assert.is(await codeOf(shell.flush(handle)), 'ENOTCONN')
})

// ---- rename onto it --------------------------------------------------------------------------

async function renameOnto(shell: VirtualShell, content: string): Promise<string> {
  const folder = mkdtempSync(path.join(tmpdir(), 'insitu-rename-'))
  writeFileSync(path.join(folder, 'source'), content)
  const fd = openSync(path.join(folder, 'source'), 'r')
  try {
    return await codeOf(
      shell.ask({
        op: 'rename-onto',
        directory: DIRECTORY,
        fd,
        sizeBytes: Buffer.byteLength(content),
        caller: ALICE,
      }),
    )
  } finally {
    closeSync(fd)
    rmSync(folder, { recursive: true })
  }
}

test('rename onto it counts as writing, and orphans who was writing', async () => {
  const shell = new VirtualShell()
  const orphan = await shell.open(CREATE)
  await shell.write(orphan, 'late')
  assert.is(await renameOnto(shell, 'new'), 'ok')
  await shell.close(orphan)
  assert.is(shell.program, 'new')
})

test('rename of a broken program, one too large, or without the right changes nothing', async () => {
  const shell = new VirtualShell()
  await shell.attach('old')
  assert.is(await renameOnto(shell, 'broken'), 'ENOEXEC')
  assert.is(await renameOnto(shell, 'x'.repeat(101)), 'EFBIG')
  shell.compute.refusals.set('mayAttach', new VfsError('EPERM', 'sticky'))
  assert.is(await renameOnto(shell, 'new'), 'EPERM')
  assert.is(shell.program, 'old')
})

test('rename of a program of exactly the largest size', async () => {
  const shell = new VirtualShell()
  assert.is(await renameOnto(shell, 'x'.repeat(100)), 'ok')
  assert.is(shell.program, 'x'.repeat(100))
})

test('rename of an empty file detaches', async () => {
  const shell = new VirtualShell()
  await shell.attach('old')
  assert.is(await renameOnto(shell, ''), 'ok')
  assert.is(shell.program, undefined)
})

test('rename does not wait long for the compiler; what comes out later is attached', async () => {
  const shell = new VirtualShell({ renameWaitMs: 10 })
  const compiler = Promise.withResolvers<void>()
  shell.compute.compiler = compiler.promise
  assert.is(await renameOnto(shell, 'broken'), 'ok')
  assert.is(shell.program, undefined)
  compiler.resolve()
  await settle()
  assert.is(shell.program, 'broken')
  assert.is(shell.warnings.length, 1)
})

test('one user who holds all that he can get leaves the rest for others', async () => {
  const shell = new VirtualShell({ userHandles: 2, userHeldBytes: 150, heldBytes: 1_000 })
  const query: VirtualNode = { kind: 'query', directory: DIRECTORY }
  const ask = (caller: Caller): Promise<number> =>
    shell.open(constants.O_RDWR, { caller, node: query })
  const first = await ask(BOB)
  await ask(BOB)
  assert.is(await codeOf(ask(BOB)), 'ENFILE')
  await shell.write(first, 'x'.repeat(90))
  const alices = await ask(ALICE)
  await shell.write(alices, 'x'.repeat(90))
  // An open that fails, and a close, give back what they took.
  await shell.release(first)
  for (let i = 0; i < 3; i += 1)
    assert.is(await codeOf(shell.open(0, { caller: BOB, node: query })), 'EINVAL')
  const second = await ask(BOB)
  await shell.write(second, 'x'.repeat(90))
  const third = await ask(ALICE)
  assert.is(await codeOf(shell.write(third, 'x'.repeat(90))), 'ENOBUFS')
})

test.run()
