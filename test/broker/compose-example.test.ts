/** examples/compose, as its README says, with podman. */
import { execFile } from 'node:child_process'
import { chown, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { readFileSync } from 'node:fs'
import { canRunContainers, IMAGE, Podman } from '../support/podman.ts'
import { ServeWorld } from '../support/serve-world.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('the compose example')
const folder = fileURLToPath(new URL('../../examples/compose', import.meta.url))

test('compose.yaml and run.sh say the same', () => {
  const { services } = parse(readFileSync(path.join(folder, 'compose.yaml'), 'utf8')) as {
    services: { app: { image: string; user: string; volumes: string[]; entrypoint: string[] } }
  }
  const { image, user, volumes, entrypoint } = services.app
  const script = readFileSync(path.join(folder, 'run.sh'), 'utf8')
    .replaceAll('$runtime', '${INSITU_RUNTIME_DIR:-/run/insitu}')
    .replaceAll('$PWD', '.')
  for (const part of [image, `--user ${user} `, ...volumes, entrypoint.at(-1) ?? ''])
    assert.ok(script.includes(part), part)
})

if (await canRunContainers('the compose example'))
  test('an app asks for its data, computes over it and gives it back', async () => {
    const world = await ServeWorld.create()
    const podman = await Podman.create({}, ['/usr/bin/curl'])
    try {
      const data = await world.directory('datasets')
      await writeFile(path.join(data, 'a.log'), 'INFO up\nERROR disk full\nERROR again\n')
      await writeFile(path.join(data, 'b.log'), 'INFO up\n')
      await chown(data, 100_000, 100_000)
      await world.configure(`tenants: { acme: { ids: 100000-165535 } }
volumes: { datasets: { path: ${data} } }
policies: { all: { tenants: ['*'], volumes: { names: ['*'] }, modes: [ro], compute: true } }
`)
      await world.serve()
      const env = {
        ...process.env,
        PATH: `${await podman.wrapper()}:${process.env['PATH']}`,
        INSITU_RUNTIME_DIR: world.runtime,
        IMAGE,
      }
      const said = await new Promise<string>((resolve) => {
        execFile(path.join(folder, 'run.sh'), { env, timeout: 60_000 }, (_, stdout, stderr) =>
          resolve(stdout + stderr),
        )
      })
      assert.ok(said.startsWith('{'), said)
      assert.equal(JSON.parse(said), { 'a.log': 2, 'b.log': 0 })
      const admin = path.join(world.runtime, 'admin.sock')
      assert.equal((await ask(admin, '/grants')).json, { grants: [] })
      const { json } = await ask(admin, '/audit?tenant=acme')
      const audit = json['entries'] as { action: string; uid?: number; container?: string }[]
      assert.equal(
        audit.map(({ action, uid }) => `${action} ${uid}`),
        ['unmount 100000', 'mount 100000'],
      )
      assert.ok(audit.every(({ container }) => /^[0-9a-f]{64}$/.test(container ?? '')))
      assert.equal(await readdir(data), ['a.log', 'b.log'])
    } finally {
      await podman.close()
      await world.close()
    }
  })

test.run()
