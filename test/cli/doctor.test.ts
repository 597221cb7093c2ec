import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { kernel } from '../../src/cli/doctor/machine.ts'
import { canMount, CliWorld } from '../support/cli.ts'

const test = suite<{ world: CliWorld }>('doctor')

test.before(async (context) => {
  context.world = await CliWorld.create()
})
test.after(async ({ world }) => {
  await world.close()
})

test('whatever is not well says what it means and how to mend it', async ({ world }) => {
  const { code, stdout } = await world.insitu(['doctor', '--json'])
  const findings = JSON.parse(stdout) as Finding[]
  assert.ok(findings.length >= 8)
  for (const { name, status, meaning, mend } of findings) {
    if (status !== 'ok') assert.ok(meaning, name)
    if (status === 'missing') assert.ok(mend, name)
  }
  assert.is(code, findings.some(({ status }) => status === 'missing') ? 69 : 0)
})

test('kernels that lack something are named', () => {
  assert.is(kernel('6.18.4-x').status, 'ok')
  assert.is(kernel('6.13').status, 'ok')
  assert.match(kernel('6.1.0-18-amd64').meaning ?? '', /6\.9 has FUSE passthrough/)
  assert.is(kernel('6.1.0-18-amd64').status, 'note')
  assert.is(kernel('5.4.0').status, 'missing')
})

if (await canMount('tests of doctor that look at devices')) {
  test('a machine that can do it all', async ({ world }) => {
    const { code, stdout, stderr } = await world.insitu(['doctor'])
    assert.is(code, 0, stdout + stderr)
    assert.match(stdout, /ok {4}negotiated +FUSE 7\.\d+, \d+ threads/)
    assert.match(stdout, /passthrough/)
    assert.match(stdout, /ok {4}bubblewrap/)
  })

  test('no device: exit code 69, and how to mend it', async ({ world }) => {
    const finished = await world.run('unshare', [
      '--mount',
      'sh',
      '-c',
      'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && exec "$1" doctor',
      'sh',
      path.resolve('bin/insitu'),
    ])
    assert.is(finished.code, 69)
    assert.match(finished.stdout, /MISS {2}\/dev\/fuse +it is not there/)
    assert.match(finished.stdout, /mend: modprobe fuse/)
    assert.match(finished.stderr, /^insitu: cannot work here: \/dev\/fuse[^\n]*\n$/)
  })
}

test.run()
