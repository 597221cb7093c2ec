/**
 * `find` over far more files than the server may open. The long variant (`scripts/test --long`) has a
 * million of them, and a limit of 4,096 descriptors; it prints what one inode costs the server.
 */
import * as fs from 'node:fs/promises'
import * as assert from 'uvu/assert'

import { type GraftMount, graftSuite } from '../support/graft-mount.ts'
import { run } from '../support/mount-suite.ts'

const test = graftSuite('many inodes')

const LONG = process.env['INSITU_LONG'] === '1'
const FILES = LONG ? 1_000_000 : 20_000
const DESCRIPTORS = LONG ? 4_096 : 1_024

/** Files in folders of a thousand; as links to few inodes it would not show anything. */
const MAKE = `
import os, sys
os.chdir(sys.argv[1])
for folder in range(int(sys.argv[2]) // 1000):
    os.mkdir(str(folder))
    for name in range(1000):
        os.close(os.open(f'{folder}/a-name-of-usual-length-{name}', os.O_WRONLY | os.O_CREAT))
`

async function residentBytes(mount: GraftMount): Promise<number> {
  const status = await fs.readFile(`/proc/${mount.child.pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
}

test(
  `${FILES} files under a limit of ${DESCRIPTORS} descriptors`,
  async (mount) => {
    const made = await run('python3', ['-c', MAKE, mount.backing, String(FILES)], undefined)
    assert.is(made.code, 0, made.stderr)
    const before = await residentBytes(mount)
    const found = await run('sh', ['-c'], 'find "$1" -type f -links 1 | wc -l', mount.mountPoint)
    assert.is(Number(found.stdout), FILES, found.stderr)
    const { nodes } = await mount.statistics()
    const held = (await fs.readdir(`/proc/${mount.child.pid}/fd`)).length
    assert.ok(held < DESCRIPTORS / 2, `${held} descriptors`)
    const bytes = Math.round(((await residentBytes(mount)) - before) / nodes)
    console.log(`${nodes} inodes known, ${held} descriptors, about ${bytes} bytes an inode`)
    // The kernel may have forgotten some by then.
    if (!LONG) assert.ok(nodes >= FILES / 2)
    assert.is((await run('sh', ['-c'], 'find "$1" | wc -l', mount.mountPoint)).code, 0)
  },
  { descriptors: DESCRIPTORS },
)

test.run()
