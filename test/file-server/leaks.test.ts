/**
 * Mixed operations, ordinary and virtual, through a mount: descriptors, nodes, open handles, backing
 * ids and memory of the server are in the end what they were after the first round.
 * `scripts/test --long` does 100,000.
 */
import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { whyNoFuse } from '../support/scratch-mount.ts'
import { type VirtualMount, virtualMount } from '../support/virtual-mount.ts'

const test = suite('leaks')

const OPERATIONS = process.env['INSITU_LONG'] === '1' ? 100_000 : 10_000
const ROUNDS = 5
const sanitized = process.env['INSITU_TEST_PRELOAD'] !== undefined
/** Of the server; what a leaked node of a hundred bytes an operation would go over many times. */
const GROWTH_BYTES = 24 * 1024 * 1024

const mapping = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.truncate(fd, 8192)
for i in range(int(sys.argv[2])):
    with mmap.mmap(fd, 8192) as m:
        m[i % 8192] = 1
    os.setxattr(sys.argv[1], b'user.leak', b'%d' % i)
    os.getxattr(sys.argv[1], b'user.leak')
    os.listxattr(sys.argv[1])
`

/** About 20 operations each time. */
function ordinary(at: string, index: number): number {
  const name = (suffix: string): string => path.join(at, `${index}-${suffix}`)
  fs.mkdirSync(name('d'))
  fs.writeFileSync(name('a'), `content ${index}`)
  fs.linkSync(name('a'), name('hard'))
  fs.symlinkSync('nowhere', name('link'))
  fs.readlinkSync(name('link'))
  fs.renameSync(name('hard'), path.join(name('d'), 'moved'))
  const reader = fs.openSync(name('a'), 'r')
  const writer = fs.openSync(name('a'), 'r+')
  fs.readSync(reader, Buffer.alloc(16))
  fs.writeSync(writer, 'over')
  fs.renameSync(name('a'), path.join(name('d'), 'moved'))
  fs.fstatSync(reader)
  fs.closeSync(reader)
  fs.closeSync(writer)
  fs.readdirSync(name('d'))
  fs.statSync(name('gone'), { throwIfNoEntry: false })
  fs.truncateSync(path.join(name('d'), 'moved'), 3)
  fs.chmodSync(name('d'), 0o700)
  fs.unlinkSync(path.join(name('d'), 'moved'))
  fs.unlinkSync(name('link'))
  fs.rmdirSync(name('d'))
  return 21
}

/** The server does what is virtual in its own process, so this one must not wait for it. */
function shell(script: string, cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
    child.once('error', reject)
    child.once('exit', () => resolve())
  })
}

async function round(mount: VirtualMount, index: number, operations: number): Promise<void> {
  const at = path.join(mount.mountPoint, `round-${index}`)
  fs.mkdirSync(at)
  const share = operations * 0.7
  for (let done = 0; done < share;) done += ordinary(at, done)
  const times = Math.floor((operations * 0.2) / 4)
  spawnSync('python3', ['-c', mapping, path.join(at, 'mapped'), `${times}`], { stdio: 'inherit' })
  // Virtual: attach, look, ask, detach; and lookers that are interrupted while they wait.
  await shell(
    `i=0; while [ $i -lt ${Math.ceil((operations * 0.1) / 12)} ]; do
      mkdir p; echo x >p/in; echo "out=in" >p/.compute; cat p/.results/out; ls p/.results
      echo y >p/in; cat p/.results/out; exec 3<>p/.query; echo q >&3; exec 3<&-
      mv p moved; cat moved/.compute; rm moved/.compute; rm -r moved; i=$((i + 1))
    done`,
    at,
  )
  await shell('mkdir w; echo x >w/in; echo "out=in" >w/.compute', at)
  await mount.command({ resolve: 'hold' })
  await shell(
    'for i in 1 2 3 4 5 6 7 8; do timeout -s INT 0.2 cat w/.results/out & done; wait; rm w/.compute',
    at,
  )
  await mount.command({ resolve: 'run' })
  fs.rmSync(at, { recursive: true })
}

interface Holdings {
  readonly descriptors: number
  readonly nodes: number
  readonly openHandles: number
  readonly backingIds: number
  readonly waiting: number
  readonly handles: number
}

async function holdings(mount: VirtualMount): Promise<Holdings> {
  const { statistics, handles } = await mount.command({})
  const { nodes, openHandles, backingIds, waiting } = statistics
  const descriptors = fs.readdirSync(`/proc/${mount.child.pid}/fd`).length
  return { descriptors, nodes, openHandles, backingIds, waiting, handles }
}

/** Once the kernel has forgotten what it need not know, and the last RELEASE is through. */
async function settled(mount: VirtualMount, wanted?: Holdings): Promise<Holdings> {
  let found: Holdings
  for (let tries = 100; ; tries -= 1) {
    fs.writeFileSync('/proc/sys/vm/drop_caches', '2')
    await sleep(50)
    found = await holdings(mount)
    const quiet = found.openHandles === 0 && found.waiting === 0 && found.nodes <= 2
    if (tries === 0 || (quiet && (wanted === undefined || found.descriptors <= wanted.descriptors)))
      return found
  }
}

function residentBytes(pid: number | undefined): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

const reason = whyNoFuse()
if (reason !== undefined || process.getuid?.() !== 0) {
  console.log(`SKIP leaks: ${reason ?? 'needs root'}`)
  test('is skipped', () => undefined)
} else {
  test(`${OPERATIONS} mixed operations leave nothing behind`, async () => {
    await using mount = await virtualMount()
    // Pools, buffers and code come to their full size.
    await round(mount, 0, OPERATIONS / ROUNDS)
    const before = await settled(mount)
    const resident = residentBytes(mount.child.pid)
    assert.is(before.nodes, 1, 'the root alone is known')
    assert.is(before.openHandles, 0)
    assert.is(before.backingIds, 0)
    assert.is(before.handles, 0)
    for (let index = 1; index <= ROUNDS; index += 1) await round(mount, index, OPERATIONS / ROUNDS)
    assert.equal(await settled(mount, before), before)
    const grown = residentBytes(mount.child.pid) - resident
    // A sanitizer keeps what was freed for a while, to see who still uses it.
    const bound = sanitized ? 8 * GROWTH_BYTES : GROWTH_BYTES
    assert.ok(grown < bound, `resident memory grew by ${grown} bytes`)
    const { statistics } = await mount.command({})
    assert.ok(statistics.virtualRequests > OPERATIONS / 1000, `${statistics.virtualRequests}`)
  })
}
test.run()
