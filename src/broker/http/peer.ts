/** Who is at the other end of a Unix socket, by the kernel. */
import type { Server, Socket } from 'node:net'
import { addon } from '../../addon/index.ts'
import { containerIn } from '../../containers/consumer.ts'
import type { Principal } from '../../file-server/types.ts'
import type { Actor } from '../store/audit.ts'
import type { Tenant } from '../types.ts'

export interface Peer extends Principal, Actor {
  readonly uid: number
  readonly command: string | undefined
}

/** Throws when the socket is gone, or is none of ours. */
export function peerOf(socket: Socket): Peer {
  const { uid, gid, groups, pid, cgroup, command } = addon.peerCredentials(descriptorOf(socket))
  return {
    uid,
    gid,
    groups,
    pid: pid > 0 ? pid : undefined,
    container: cgroup === undefined ? undefined : containerIn(cgroup),
    command,
  }
}

/** As `peerOf`, as far as it says whether more is to be known. */
export function uidOf(socket: Socket): number {
  return addon.peerUid(descriptorOf(socket))
}

/** One of the tenant's ids; root and whom the daemon runs as are the operator. */
export function mayUse(uid: number, { ids }: Tenant): boolean {
  return isOperator(uid) || (uid >= ids.first && uid < ids.first + ids.count)
}

export function isOperator(uid: number): boolean {
  return uid === 0 || uid === process.getuid?.()
}

/** Node has no public way to a socket's descriptor; also of one that listens. */
export function descriptorOf(socket: Socket | Server): number {
  const { _handle: handle } = socket as unknown as { _handle?: { readonly fd?: unknown } | null }
  if (typeof handle?.fd === 'number' && handle.fd >= 0) return handle.fd
  throw new Error('the connection is closed already')
}
