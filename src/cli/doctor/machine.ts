/** Node, the kernel, descriptors, FUSE time-outs. */
import { readFile } from 'node:fs/promises'
import { release } from 'node:os'
import { note, missing, ok, type Finding } from './finding.ts'

/** Modules are built for these: Node 24 and 26. */
const SUPPORTED_ABIS = ['137', '147']

/** Inputs, open files and the inode cache together use a few thousand. */
const COMFORTABLE_FILES = 65_536

export async function machineChecks(): Promise<Finding[]> {
  return [node(), await addon(), kernel(release()), await openFiles(), await requestTimeouts()]
}

async function addon(): Promise<Finding> {
  try {
    await import('../../addon/index.ts')
    return ok('addon', 'loads')
  } catch (error) {
    return missing(
      'addon',
      error instanceof Error ? error.message : String(error),
      'programs will not run; ordinary files can be served with --file-server fuse-native',
      'build it: scripts/setup in a checkout',
    )
  }
}

function node(): Finding {
  const found = `${process.version} (${process.execPath})`
  return SUPPORTED_ABIS.includes(process.versions.modules)
    ? ok('Node', found)
    : missing('Node', found, 'the addons load in Node 24 and 26 only', 'set INSITU_NODE to one')
}

export function kernel(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10))
  const is = (a: number, b: number) => major > a || (major === a && minor >= b)
  if (!is(5, 15))
    return missing(
      'kernel',
      version,
      'programs get their inputs through a detached read-only clone of the directory (Linux 5.12), and limits need 5.15',
      'use Linux 5.15 or later; 6.13 is best',
    )
  const lacking: string[] = []
  if (!is(6, 5)) lacking.push('6.5 tells which mapped pages are dirty (else every input is synced)')
  if (!is(6, 9)) lacking.push('6.9 has FUSE passthrough (else data goes through our threads)')
  if (!is(6, 13)) lacking.push('6.13 has fine-grained times (else a just changed input runs again)')
  return lacking.length === 0
    ? ok('kernel', version)
    : note('kernel', version, `slower: ${lacking.join('; ')}`, 'a later kernel')
}

async function openFiles(): Promise<Finding> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  const [, , hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits) ?? []
  const most = hard === 'unlimited' ? Infinity : Number(hard ?? 0)
  return most >= COMFORTABLE_FILES
    ? ok('RLIMIT_NOFILE', `${hard} open files`)
    : note(
        'RLIMIT_NOFILE',
        `${hard ?? 'unknown'} open files at most`,
        'large directories and many readers can reach it; opens then fail with EMFILE',
        `raise the hard limit to ${COMFORTABLE_FILES} (ulimit -Hn, LimitNOFILE= in a unit)`,
      )
}

async function requestTimeouts(): Promise<Finding> {
  const names = ['default_request_timeout', 'max_request_timeout']
  const set: string[] = []
  for (const name of names) {
    const value = await readFile(`/proc/sys/fs/fuse/${name}`, 'utf8').catch(() => '0')
    if (value.trim() !== '0') set.push(`fs.fuse.${name} = ${value.trim()}`)
  }
  return set.length === 0
    ? ok('fs.fuse time-outs', 'none: a reader may wait for a run as long as the limits say')
    : note(
        'fs.fuse time-outs',
        set.join(', '),
        'the kernel aborts the whole mount when a reader waits longer than that for a run',
        `set them to 0 with sysctl -w, or keep --timeout below`,
      )
}
