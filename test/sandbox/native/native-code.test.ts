/** Native code in a worker's place: what a guest could do that has taken over its process. */
import { execFile, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { addon } from '../../../src/addon/index.ts'
import { openVolume } from '../../../src/file-server/volume.ts'
import { buildAttacks, type JailedOptions, type JailedRun, runJailed } from './attack-program.ts'
import { BY_THE_CLONE, MEASURED, WITH_BOTH_FILTERS, WITH_LAUNCH_FILTER } from './refusals.ts'

const exec = promisify(execFile)
const MiB = 1024 * 1024
const ROOT = process.getuid?.() === 0
const test = suite('native code in the jail')

let folder: string
let program: string
let directory: string

test.before(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'insitu-native-'))
  await chmod(folder, 0o755)
  directory = path.join(folder, 'volume')
  await mkdir(directory)
  // Executable, and the worker's own if it were not for the user namespace: only the layers hold.
  await writeFile(path.join(directory, 'input'), '#!/bin/sh\n', { mode: 0o777 })
  program = await buildAttacks(folder)
})

test.after(() => rm(folder, { recursive: true, force: true }))

/** An input as a run gets it; the receiver closes it. */
async function openInput(): Promise<number> {
  const volume = await openVolume(directory)
  const session = await volume.inputs(await volume.keyOf(''), { uid: 0, gid: 0, groups: [] })
  try {
    return (await session.open('input')).fd
  } finally {
    session.close()
    volume.close()
  }
}

async function attack(options: JailedOptions): Promise<JailedRun> {
  const spool = addon.sandbox.spoolFile(folder)
  try {
    return await runJailed(program, {
      inputFd: await openInput(),
      spoolFd: spool.passed,
      dataBytes: 64 * MiB,
      fileSizeBytes: 1 * MiB,
      ...options,
    })
  } finally {
    closeSync(spool.own)
  }
}

const listed = async (): Promise<string[]> =>
  (await exec(program, ['--list'])).stdout.trim().split('\n')

test('every attack has its refusal', async () => {
  const names = (await listed()).filter((name) => !MEASURED.has(name))
  assert.equal(names.toSorted(), [...WITH_BOTH_FILTERS.keys()].toSorted())
})

const takesMemory = (name: string): boolean => name.startsWith('memory-') || name === 'threads'

test('both filters: what is refused and lets the process live', async () => {
  const expected = [...WITH_BOTH_FILTERS].filter(
    ([name, refusal]) => refusal !== 'killed' && !takesMemory(name),
  )
  const { attempts } = await attack({ names: expected.map(([name]) => name) })
  assert.equal(Object.fromEntries(attempts), Object.fromEntries(expected))
})

test('both filters: what ends the process, or fills it', async () => {
  const fatal = [...WITH_BOTH_FILTERS].filter(
    ([name, refusal]) => refusal === 'killed' || takesMemory(name),
  )
  const found: [string, string | undefined][] = []
  const queue = [...fatal]
  const next = async (): Promise<void> => {
    for (let entry; (entry = queue.shift());) {
      const [name] = entry
      const outcome = (await attack({ names: [name] })).attempts.get(name)
      // Where kernel or hypervisor have no 32-bit calls, the instruction itself ends the process.
      const no32Bit =
        name === 'i386-call' &&
        outcome?.startsWith(`ended with ${128 + os.constants.signals.SIGSEGV} `)
      found.push([name, no32Bit ? 'killed' : outcome])
    }
  }
  await Promise.all([next(), next()])
  // In one order, so that what differs stands side by side.
  const sorted = fatal.map(([name]) => [name, Object.fromEntries(found)[name]])
  assert.equal(Object.fromEntries(sorted), Object.fromEntries(fatal))
})

test('the launch filter and the tree by themselves', async () => {
  const names = [...WITH_LAUNCH_FILTER.keys()]
  const { attempts } = await attack({ names, workerFilter: false })
  assert.equal(Object.fromEntries(attempts), Object.fromEntries(WITH_LAUNCH_FILTER))
})

test('an input is read through a read-only clone of the backing', async () => {
  if (!ROOT) {
    console.log('SKIP the clone of the backing: needs root')
    return
  }
  // The same attempts as root and with no jail at all: only the clone is left.
  const found = new Map<string, string>()
  for (const name of BY_THE_CLONE.keys()) {
    const [own, passed] = addon.sandbox.socketPair()
    const input = await openInput()
    const channel = new addon.sandbox.Channel(
      own,
      () => {},
      () => {},
    )
    const child = spawn(program, ['--no-worker-filter', '--input', name], {
      stdio: ['ignore', 'pipe', 'ignore', passed],
    })
    closeSync(passed)
    channel.send(Buffer.from('i'), input)
    let output = ''
    for await (const part of child.stdout ?? []) output += String(part)
    channel.close()
    found.set(name, /refused (\w+)/.exec(output)?.[1] ?? output)
  }
  assert.equal(Object.fromEntries(found), Object.fromEntries(BY_THE_CLONE))
})

test('memory that no limit refuses is seen by the watcher', async () => {
  for (const name of MEASURED) {
    let most = 0
    const { status } = await attack({
      names: [name],
      watch: ({ residentBytes }) => {
        most = Math.max(most, residentBytes)
        return most > 40 * MiB ? 'kill' : 'go on'
      },
    })
    assert.is(status, 128 + 9, `${name} ended by itself`)
    assert.ok(most > 40 * MiB, `${name} was seen with ${most} bytes only`)
  }
})

test.run()
