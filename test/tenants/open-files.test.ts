/** A tenant with many users opens all that it can: the daemon has descriptors left for the others. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, exit, type Finished } from '../support/cli.ts'
import { ServeWorld, until } from '../support/serve-world.ts'
import { ask } from '../support/unix-http.ts'

const [ACME, BOLT, USERS, DESCRIPTORS] = [70_000, 80_000, 6, 900]

const test = suite('open files of tenants')

if (await canMount('tests of open files of tenants'))
  test('no tenant holds more open than what is left for the others', async () => {
    const world = await ServeWorld.create()
    const holders: ChildProcess[] = []
    try {
      await world.configure(`workers: 1
tenants:
  acme: { ids: ${ACME}-70999 }
  bolt: { ids: ${BOLT}-80999 }
`)
      const daemon = (await world.serve({}, DESCRIPTORS)).child.pid ?? 0
      const folders = Array.from({ length: USERS }, (_, n) =>
        path.join(world.home('acme'), String(n)),
      )
      const made = await shell(world, ACME, `chmod 755 . && mkdir -m 777 ${folders.join(' ')}`)
      assert.is(made.code, 0, made.stderr)
      // Each for itself stays below what one user may.
      for (const [n, folder] of folders.entries())
        holders.push(await holdOpen(ACME + n, folder, DESCRIPTORS / 3))
      const wrote = await shell(world, BOLT, 'echo here > file && cat file')
      assert.equal([wrote.code, wrote.stdout], [0, 'here\n'], wrote.stderr)
      const bolt = world.socket('bolt')
      assert.is((await ask(bolt, '/grants')).status, 200)
      for (const each of holders) each.kill('SIGKILL')
      await until(() => readdirSync(`/proc/${daemon}/fd`).length < DESCRIPTORS / 2)
      const own = await shell(world, ACME, 'echo here > file && cat file')
      assert.equal([own.code, own.stdout], [0, 'here\n'], own.stderr)
    } finally {
      for (const each of holders) each.kill('SIGKILL')
      await Promise.all(holders.map(exit))
      await world.close()
    }
  })

/** As that user, in the home of its tenant. */
function shell(world: ServeWorld, uid: number, script: string): Promise<Finished> {
  const home = world.home(uid === ACME ? 'acme' : 'bolt')
  return world.run('setpriv', [
    ...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--', 'sh', '-c'],
    `cd ${home} && ${script}`,
  ])
}

const OPENS = `
const [folder, count] = process.argv.slice(1)
try { for (let n = 0; n < Number(count); n += 1) require('fs').openSync(folder + '/' + n, 'w') }
catch (error) { if (!/^E[NM]FILE$/.test(error.code)) throw error }
process.stdout.write('ready')
setInterval(() => undefined, 1000)`

/** Opens that many new files, or as many as it gets. */
async function holdOpen(uid: number, folder: string, count: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--eval', OPENS, folder, String(count)], {
    uid,
    gid: uid,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return child
}

test.run()
