/** The engine over the product's own volume: identities, rights and descriptors of the kernel. */
import { closeSync, readSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { text, type FakeRun, type Guest } from '../support/fake-sandbox.ts'
import { Bench, errnoOf } from './bench.ts'

const test = suite('compute: over the native volume')

/** What a worker does with an input that was opened for it. */
async function read(run: FakeRun, name: string): Promise<string> {
  const { fd, sizeBytes } = await run.inputs.open(name)
  try {
    const bytes = Buffer.alloc(sizeBytes)
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, sizeBytes, 0))
  } finally {
    closeSync(fd)
  }
}

const guests: Record<string, Guest> = {
  copy: async (run) => [text('result', await read(run, 'a'))],
  list: async (run) => [
    text('result', (await run.inputs.list('')).map(({ name }) => name).join(' ')),
  ],
  exists: async (run) => [
    text(
      'result',
      await run.inputs.stat('a').then(
        () => 'yes',
        (error) => String(error.code),
      ),
    ),
  ],
  size: async (run) => [text('result', String((await run.inputs.stat('a')).sizeBytes))],
}

test('content, listing, absence and attributes are seen to change', async () => {
  const bench = await Bench.makeNative(guests)
  await bench.stage('exists')
  assert.is(await bench.look(), 'ENOENT')
  await bench.write('a', '1')
  assert.is(await bench.look(), 'yes')
  await bench.stage('copy')
  assert.is(await bench.look(), '1')
  await bench.write('a', '2')
  assert.is(await bench.look(), '2')
  await bench.stage('list')
  assert.is(await bench.look(), 'a')
  await bench.write('b', '')
  assert.is(await bench.look(), 'a b')
  await bench.stage('size')
  assert.is(await bench.look(), '1')
  await bench.append('a', '3')
  assert.is(await bench.look(), '2')
  await bench.end()
})

test('an unchanged input is no new run, also after a restart and a rename of the directory', async () => {
  const bench = await Bench.makeNative(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await new Promise((resolve) => setTimeout(resolve, 30))
  await bench.look()
  const { runs } = bench.sandbox
  assert.is(await bench.look(), '1')
  assert.is(bench.sandbox.runs, runs)
  await fs.rename(bench.file(''), path.join(bench.root, 'backing', 'moved'))
  await bench.restart()
  assert.is((await bench.compute.list())[0]?.path, 'moved')
  assert.is(await bench.look(), '1')
  assert.is(bench.sandbox.runs, runs)
  await bench.end()
})

test('a replaced input of the same size and time is another one', async () => {
  const bench = await Bench.makeNative(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  const { atime, mtime } = await fs.stat(bench.file('a'))
  await bench.write('b', '2')
  await fs.utimes(bench.file('b'), atime, mtime)
  await fs.rename(bench.file('b'), bench.file('a'))
  assert.is(await bench.look(), '2')
  await bench.end()
})

test('a directory that was removed is ESTALE or ENOENT at the next look', async () => {
  const bench = await Bench.makeNative(guests)
  await bench.write('a', '1')
  await bench.stage('copy')
  await bench.look()
  await fs.rm(bench.file(''), { recursive: true })
  assert.match(await errnoOf(bench.look()), /^(ESTALE|ENOENT)$/)
  await bench.end()
})

test.run()
