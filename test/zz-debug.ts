import { ServeWorld } from './support/serve-world.ts'
import { ConsumerShell } from './support/consumer-shell.ts'
import { writeFile } from 'node:fs/promises'
const served = await ServeWorld.create()
const data = await served.directory('data')
await writeFile(data + '/file', 'granted\n')
await served.configure(`tenants:
  acme: { ids: 100000-165535 }
volumes:
  data: { path: ${data} }
policies:
  all: { tenants: [acme], volumes: { names: ['*'] }, modes: [ro, rw], compute: true }
`)
process.env['INSITU_RUNTIME_DIR'] = served.runtime
const d = await served.serve()
const shell = ConsumerShell.in(['unshare', '--mount', '--propagation', 'private'])
const inside = await served.directory('x')
console.log(await shell.ask('ls -la ' + inside))
const r = await served.insitu([
  'volume',
  'mount',
  'data',
  '--tenant',
  'acme',
  '--pid',
  String(await shell.pid()),
  '--target',
  inside + '/v',
])
console.log(r)
console.log(await shell.ask('ls -la ' + inside + '/v; grep insitu /proc/self/mountinfo'))

import { spawnSync } from 'node:child_process'
const [g] = JSON.parse((await served.insitu(['grant', 'list', '--json'])).stdout)
await served.insitu(['grant', 'revoke', g.id])
const mi = await shell.ask('grep "' + inside + '/v" /proc/self/mountinfo')
console.log(mi)
console.log(d.log().slice(-3000))
const start = await shell.ask('cut -d" " -f22 /proc/$$/stat')
const r2 = spawnSync(
  'strace',
  [
    'native/build/Release/mount_attach',
    'detach',
    String(await shell.pid()),
    start,
    inside + '/v',
    '1',
  ],
  { encoding: 'utf8' },
)
console.log(r2.stderr?.slice(-2500))
await shell[Symbol.asyncDispose]()
await served.close()
