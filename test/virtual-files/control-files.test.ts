import { constants } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { ControlName } from '../../src/file-server/types.ts'
import { DIRECTORY, VirtualShell, codeOf } from './virtual-shell.ts'

const { O_RDWR, O_WRONLY, O_TRUNC } = constants
const test = suite('control files')

test('there are none without a program', async () => {
  const shell = new VirtualShell()
  for (const name of ['.status', '.log', '.error', '.inputs', '.control'] as const)
    assert.is(await codeOf(shell.openControl(name)), 'ENOENT', name)
})

test('sizes are those of the content', async () => {
  const shell = new VirtualShell()
  await shell.attach('a')
  for (const name of ['.status', '.log', '.error', '.inputs'] as const) {
    const content = await shell.read(await shell.openControl(name))
    const node = { kind: 'control', directory: DIRECTORY, name } as const
    const { attributes } = await shell.ask({ op: 'getattr', node })
    assert.is(attributes?.sizeBytes, Buffer.byteLength(content), name)
  }
})

test('the status has every key', async () => {
  const shell = new VirtualShell()
  await shell.attach('a')
  const text = await shell.read(await shell.openControl('.status'))
  assert.ok(text.endsWith('}\n'))
  const status = JSON.parse(text) as Record<string, unknown>
  assert.is(status['state'], 'idle')
  assert.is(status['endedAt'], null)
  assert.is(status['error'], null)
})

test('an open file keeps what it showed', async () => {
  const shell = new VirtualShell()
  await shell.attach('a')
  const handle = await shell.openControl('.inputs')
  await shell.unlink()
  assert.is(await shell.read(handle), 'a.log\n')
})

test('only .control is written, also by root', async () => {
  const shell = new VirtualShell()
  await shell.attach('a')
  for (const name of ['.status', '.log', '.error', '.inputs'] as const)
    assert.is(await codeOf(shell.openControl(name, O_RDWR)), 'EACCES', name)
})

const COMMANDS: readonly (readonly [ControlName, string, string, readonly string[]])[] = [
  ['.control', 'rerun\n', 'ok', ['rerun by 1001']],
  ['.control', 'cancel', 'ok', ['cancel by 1001']],
  ['.control', '  rerun \n', 'ok', ['rerun by 1001']],
  ['.control', 'restart\n', 'EINVAL', []],
  ['.control', '', 'EINVAL', []],
  ['.control', 'rerun' + ' '.repeat(100), 'EINVAL', []],
]

for (const [name, text, outcome, calls] of COMMANDS) {
  test(`write ${JSON.stringify(text.slice(0, 12))} → ${outcome}`, async () => {
    const shell = new VirtualShell()
    await shell.attach('a')
    const handle = await shell.openControl(name, O_WRONLY | O_TRUNC)
    assert.is(await codeOf(shell.write(handle, text)), outcome)
    await shell.close(handle)
    assert.equal(shell.compute.calls, calls)
  })
}

test.run()
