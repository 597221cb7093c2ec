/** Folders on other filesystems than the one that temporary files are on, for the time of a test. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { missingTools } from './long.ts'

export type BackingKind = 'xfs' | 'overlay' | 'nfs'

/** Why this kind cannot be had here; undefined when it can. */
export function whyNoBacking(kind: BackingKind): string | undefined {
  if (process.getuid?.() !== 0) return 'mounting it needs root'
  if (kind !== 'nfs' && !kernelHas(kind)) return `this kernel has no ${kind}`
  if (kind === 'xfs' && missingTools(['mkfs.xfs'], ['xfsprogs']).length > 0) return 'no mkfs.xfs'
  if (kind === 'nfs') {
    if (!kernelHas('nfs4') || !kernelHas('nfsd')) return 'this kernel has no NFS client and server'
    if (missingTools(['exportfs', 'mount.nfs'], ['nfs-kernel-server', 'nfs-common']).length > 0)
      return 'no nfs-kernel-server'
  }
  return undefined
}

function kernelHas(filesystem: string): boolean {
  spawnSync('modprobe', ['-q', filesystem])
  return new RegExp(`\\b${filesystem}$`, 'm').test(readFileSync('/proc/filesystems', 'utf8'))
}

/** Mounts one of its own, gives its folder, and takes it away again. */
export async function onBacking(
  kind: BackingKind,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const base = mkdtempSync(path.join(tmpdir(), `insitu-${kind}-`))
  const at = (name: string) => path.join(base, name)
  const folder = at('mounted')
  for (const name of ['mounted', 'lower', 'upper', 'work']) mkdirSync(at(name))
  let exported: string | undefined
  try {
    if (kind === 'xfs') {
      execFileSync('truncate', ['-s', '2G', at('image')])
      execFileSync('mkfs.xfs', ['-q', at('image')], { env: sbin() })
      execFileSync('mount', ['-o', 'loop', at('image'), folder])
    } else if (kind === 'overlay') {
      const layers = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`
      execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, folder])
    } else {
      exported = `127.0.0.1:${at('upper')}`
      execFileSync('exportfs', ['-o', 'rw,no_root_squash,insecure,fsid=7', exported])
      execFileSync('mount', ['-t', 'nfs4', exported, folder])
    }
    await work(folder)
  } finally {
    spawnSync('umount', ['-l', folder])
    if (exported !== undefined) spawnSync('exportfs', ['-u', exported])
    rmSync(base, { recursive: true, force: true })
  }
}

function sbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
}
