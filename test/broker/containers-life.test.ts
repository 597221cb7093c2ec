/** A volume in a container is a grant as any other: it lasts as long as the container, is measured, and is held. */
import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canMount, exit } from '../support/cli.ts'
import { ConsumerShell } from '../support/consumer-shell.ts'
import { DiskImage } from '../support/disk-image.ts'
import { type Served, ServeWorld, until } from '../support/serve-world.ts'
import { ask } from '../support/unix-http.ts'

const test = suite('life of volumes in containers')
const able = (await canMount('life of volumes in containers')) && process.getuid?.() === 0

const PRIVATE = ['unshare', '--mount', '--propagation', 'private']

let served: ServeWorld
let daemon: Served
let disk: DiskImage | undefined

test.before(async () => {
  served = await ServeWorld.create()
  // One that shares blocks, so that a directory on it can be a snapshot.
  disk = DiskImage.create('xfs', 300 * 1024 * 1024)
  const data = disk === undefined ? await served.directory('data') : path.join(disk.folder, 'data')
  await mkdir(data, { recursive: true })
  for (let n = 0; n < 1_000; n += 1) await writeFile(path.join(data, `file${n}`), 'granted\n')
  await served.configure(`tenants: { acme: { ids: 100000-165535 } }
volumes: { data: { path: ${data} } }
policies: { all: { tenants: [acme], volumes: { names: [data] }, modes: [ro, rw] } }
`)
  process.env['INSITU_RUNTIME_DIR'] = served.runtime
  if (able) daemon = await served.serve()
})
test.after(async () => {
  await served.close()
  disk?.[Symbol.dispose]()
})

async function done(words: string): Promise<string> {
  const { code, stdout, stderr } = await served.insitu(words.split(' '))
  assert.is(code, 0, `${words}: ${stderr}`)
  return stdout
}

async function grants(): Promise<number> {
  const { json } = await ask(path.join(served.runtime, 'admin.sock'), '/grants')
  return (json['grants'] as unknown[]).length
}

if (able)
  test('it goes with the last process, and not with the one that was named', async () => {
    const inside = await served.directory('first')
    const shell = ConsumerShell.in(PRIVATE)
    const named = await shell.pid()
    await shell.ask(`mount -t tmpfs own ${inside}`)
    await done(`volume mount data --tenant acme --pid ${named} --target ${inside}/volume`)
    const other = Number(await shell.ask('sleep 600 >/dev/null 2>&1 & echo $!'))
    const sees = (what: string) =>
      served.run('nsenter', [`--mount=/proc/${other}/ns/mnt`, 'cat', path.join(inside, what)])
    try {
      await shell[Symbol.asyncDispose]()
      assert.is((await sees('volume/file1')).stdout, 'granted\n')
      await served.kill(daemon, 'SIGKILL')
      assert.match((await sees('volume/file1')).stderr, /not connected/)
      // By way of who is left.
      daemon = await served.serve()
      assert.is((await sees('volume/file1')).stdout, 'granted\n')
    } finally {
      process.kill(other, 'SIGKILL')
    }
    await until(async () => (await grants()) === 0)
    const folder = path.join(served.state, 'tenants/acme/containers')
    await until(async () => (await readdir(folder)).length === 0)
  })

if (able)
  test('one that was moved in there comes back where it was put, and leaves nothing dead', async () => {
    const inside = await served.directory('moved')
    await using shell = ConsumerShell.in(PRIVATE)
    const place = `--tenant acme --pid ${await shell.pid()} --target ${inside}/volume`
    await shell.ask(`mount -t tmpfs own ${inside}`)
    await done(`volume mount data ${place}`)
    const moving = `mkdir ${inside}/moved; mount --move ${inside}/volume ${inside}/moved`
    assert.is(await shell.ask(`${moving}; ls ${inside}/moved/file1`), `${inside}/moved/file1`)
    await served.kill(daemon, 'SIGKILL')
    assert.match(await shell.ask(`ls ${inside}/moved`), /not connected/)
    daemon = await served.serve()
    assert.is(await shell.ask(`ls ${inside}/volume/file1`), `${inside}/volume/file1`)
    assert.is(await shell.ask(`ls ${inside}/moved; grep -c ${inside}/ /proc/self/mounts`), '1')
    await done(`volume unmount ${place}`)
    const folder = path.join(served.state, 'tenants/acme/containers')
    const marks = async (): Promise<string[]> =>
      (await readdir(folder, { recursive: true })).filter((each) => /mounts\/./.test(each))
    await until(async () => (await marks()).length === 0)
  })

for (const [how, signal] of able
  ? ([
      ['crash', 'SIGKILL'],
      ['stop', 'SIGTERM'],
    ] as const)
  : [])
  test(`what a container bind-mounted of the home comes back after a ${how}, as it was`, async () => {
    const inside = await served.directory(`binds-${how}`)
    const home = served.home('acme')
    const at = (name: string): string => path.join(inside, name)
    await done('volume mount data --tenant acme --at shared/data')
    await served.run('sh', [
      '-c',
      `mkdir -p ${home}/own; echo own >${home}/own/file; echo top >${home}/top`,
    ])
    await using shell = ConsumerShell.in(PRIVATE)
    await shell.ask(
      `mount -t tmpfs own ${inside}; cd ${inside}; mkdir home own data held; touch top`,
    )
    for (const [source, target] of [
      [home, 'home'],
      [`${home}/own`, 'own'],
      [`${home}/shared/data`, 'data'],
      [`${home}/own`, 'held'],
      [`${home}/top`, 'top'],
    ] as const)
      assert.is(await shell.ask(`mount --bind ${source} ${at(target)}`), '')
    assert.is(await shell.ask(`mount -o remount,bind,ro,noexec ${at('own')}`), '')
    // What is in another one is not taken along with it.
    assert.is(
      await shell.ask(`mkdir -p held/in; mount -t tmpfs in held/in; touch held/in/mine`),
      '',
    )
    assert.is(await shell.ask(`exec 5<own/file; cat own/file data/file1 top`), 'own\ngranted\ntop')

    await served.kill(daemon, signal)
    assert.match(await shell.ask('cat own/file'), /not connected/)
    const held = how === 'stop' ? [path.join(served.runtime, 'serving/acme.held')] : []
    assert.equal(
      [await served.mounts(), await served.heldMounts()],
      how === 'stop' ? [[], held] : [[home], []],
    )
    daemon = await served.serve()
    assert.equal([await served.mounts(), await served.heldMounts()], [[home], []])
    assert.is(
      await shell.ask('cat home/own/file own/file data/file1 home/shared/data/file1 top'),
      'own\nown\ngranted\ngranted\ntop',
    )
    assert.match(await shell.ask('echo x >own/file'), /Read-only/)
    assert.match(await shell.ask('echo x >data/file1'), /Read-only/)
    assert.is(await shell.ask(`grep -c '/own fuse.insitu ro,.*noexec' /proc/self/mounts`), '1')
    assert.is(await shell.ask('echo new >home/top; cat top'), 'new')
    assert.match(await shell.ask('cat <&5'), /not connected/)
    assert.match(await shell.ask('ls held'), /not connected/)
    assert.is(await shell.ask('umount held/in; exec 5<&-; cd /'), '')
    // Each once, and none of them under another.
    const mounts = await readFile(`/proc/${await shell.pid()}/mountinfo`, 'utf8')
    for (const name of ['home', 'own', 'data', 'top'])
      assert.is(mounts.split('\n').filter((line) => line.includes(` ${at(name)} `)).length, 1, name)
    await done('volume unmount shared/data --tenant acme --force')
  })

if (able)
  test('what was held for a tenant that is no more is nobody’s', async () => {
    const world = await ServeWorld.create()
    try {
      const tenant = (name: string, first: number) =>
        world.configure(`tenants: { ${name}: { ids: ${first}-${first + 9} } }`)
      await tenant('acme', 300_000)
      const first = await world.serve()
      const inside = await world.directory('inside')
      await using shell = ConsumerShell.in(PRIVATE)
      assert.is(await shell.ask(`mount --bind ${world.home('acme')} ${inside}; ls ${inside}`), '')
      await world.kill(first, 'SIGTERM')
      assert.equal(await world.heldMounts(), [path.join(world.runtime, 'serving/acme.held')])
      await tenant('other', 300_000)
      await world.serve()
      assert.equal([await world.mounts(), await world.heldMounts()], [[world.home('other')], []])
      assert.equal(await readdir(path.join(world.runtime, 'serving')), ['other.json'])
      assert.match(await shell.ask(`ls ${inside}`), /not connected/)
    } finally {
      await world.close()
    }
  })

/** As fast as can be: a copy beside it never is of one moment. First one file, then the other: never is the second ahead, nor more than one behind. */
const WRITING = `
  const fs = require('node:fs')
  const [first, second] = ['a', 'z'].map((name) => fs.openSync(process.argv[1] + '/' + name, 'w'))
  for (let i = 1; ; i += 1) {
    for (const file of [first, second]) fs.writeSync(file, String(i).padStart(9, '0'), 0)
    if (i === 1) console.log('writing')
  }`

if (able)
  test('what is done in there is measured, and held for a snapshot', async () => {
    const inside = await served.directory('held')
    await using shell = ConsumerShell.in(PRIVATE)
    const pid = await shell.pid()
    const target = `${inside}/volume`
    await shell.ask(`mount -t tmpfs own ${inside}`)
    await done(`volume mount data --tenant acme --mode rw --pid ${pid} --target ${target}`)
    const writing = spawn(
      'nsenter',
      [`--mount=/proc/${pid}/ns/mnt`, process.execPath, '-e', WRITING, target],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    try {
      await new Promise((resolve) => writing.stdout.once('data', resolve))
      if (disk !== undefined) {
        const into = path.join(disk.folder, 'snapshots')
        await mkdir(into, { mode: 0o700 })
        // At once: without the hold a moment would have to be sought.
        assert.match(await done(`volume snapshot data then --into ${into}`), /at try 1\b/)
        const read = (name: string) => served.run('cat', [path.join(into, 'then', name)])
        const [first, second] = [await read('a'), await read('z')].map((each) =>
          Number(each.stdout),
        )
        const ahead = (first ?? NaN) - (second ?? NaN)
        assert.ok(ahead === 0 || ahead === 1, `${first} and ${second} were never there together`)
      }
      const measured = async (): Promise<number | undefined> => {
        const explained = await done('volume list --tenant acme --explain --json')
        const { explanations } = JSON.parse(explained) as {
          explanations: { volume: string; measuredP99Us?: number }[]
        }
        return explanations.find(({ volume }) => volume === 'data')?.measuredP99Us
      }
      await until(async () => (await measured()) !== undefined)
    } finally {
      writing.kill('SIGKILL')
      await exit(writing)
    }
    await done(`volume unmount --tenant acme --force --pid ${pid} --target ${target}`)
  })

if (!able) test('needs root and FUSE', () => console.log('SKIP life of volumes in containers'))

test.run()
