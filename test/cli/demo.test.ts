/** The demo is the first thing that a newcomer runs: its transcript must hold, and it must clean up,
 * also when it is interrupted in the middle. */
import { mkdir, readdir } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { readMountTable } from '../../src/file-server/mount-table.ts'
import { canMount, CliWorld } from '../support/cli.ts'

const DEMO = fileURLToPath(new URL('../../scripts/demo', import.meta.url))
const test = suite<{ world: CliWorld; temporary: string }>('demo')

test.before.each(async (context) => {
  context.world = await CliWorld.create()
  context.temporary = path.join(context.world.scratch, 'tmp')
  await mkdir(context.temporary)
})
test.after.each(async ({ world }) => {
  await world.close()
})

async function assertNothingLeft(temporary: string): Promise<void> {
  assert.equal(await readdir(temporary), [])
  const mounts = await readMountTable()
  assert.not(mounts.some((mount) => mount.mountPoint.startsWith(temporary)))
}

if (await canMount('tests of the demo')) {
  test('shows the main job from end to end', async ({ world, temporary }) => {
    const env = { TMPDIR: temporary }
    const { code, stdout, stderr } = await world.run(DEMO, [], { env, deadlineMs: 240_000 })
    assert.is(code, 0, `${stdout}\n${stderr}`)
    for (const shown of [
      /^\$ insitu mount files mnt --detach/m,
      /^insitu: .* is mounted at /m,
      /Exec format error/,
      /SyntaxError/,
      /Input\/output error/,
      /^\$ insitu unmount mnt$/m,
    ])
      assert.match(stdout, shown)
    // What the set-up installs, it says on stderr; what commands complain about is in the transcript.
    assert.not.match(stderr, /insitu:|cannot|No such/)
    await assertNothingLeft(temporary)
  })

  test('leaves nothing behind when it is interrupted', async ({ world, temporary }) => {
    // A session of its own, as Ctrl-C reaches the whole foreground group.
    const child = spawn(DEMO, [], {
      env: { ...world.env, TMPDIR: temporary },
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const code = new Promise<number | null>((resolve) => child.once('exit', resolve))
    let shown = ''
    child.stdout.on('data', (data: Buffer) => (shown += data.toString()))
    while (!shown.includes('is mounted at') && child.exitCode === null) await sleep(50)
    process.kill(-(child.pid ?? 0), 'SIGINT')
    assert.is(await code, 130, shown)
    await assertNothingLeft(temporary)
  })
}

test.run()
