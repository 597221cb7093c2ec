/** A stored set as the file server publishes it. */
import type { InputSession, PublishedSet } from '../file-server/types.ts'
import type { ProgramRecord } from './database.ts'
import { describeInputs, type Manifest } from './manifest.ts'
import type { StoredSet } from './results-store.ts'
import { RUNTIME } from './runtime.ts'

/** Whether this runtime, with this program and principal, would bring the same set. */
export function isOf(record: ProgramRecord, manifest: Manifest): boolean {
  const { uid, gid, groups } = manifest.principal
  return (
    manifest.program === record.hash &&
    manifest.runtime === RUNTIME &&
    uid === record.principal.uid &&
    gid === record.principal.gid &&
    String(groups) === String(record.principal.groups)
  )
}

export function publishedSet({ folder, manifest }: StoredSet, inputs: InputSession): PublishedSet {
  const { version, results, mtimeNs, mode, principal, program, runtime, cpuMs } = manifest
  return {
    version,
    folder,
    results,
    mtimeNs,
    uid: principal.uid,
    gid: principal.gid,
    mode,
    xattrs: {
      program,
      runtime,
      inputs: describeInputs(manifest.inputs),
      cpu_ms: String(cpuMs),
    },
    inputs,
  }
}
