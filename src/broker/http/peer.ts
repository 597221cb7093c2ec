/** Who is at the other end of a Unix socket, by the kernel. */
import type { Socket } from 'node:net'
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

/** One of the tenant's ids; root and whom the daemon runs as are the operator. */
export function mayUse(peer: Peer, { ids }: Tenant): boolean {
  return isOperator(peer) || (peer.uid >= ids.first && peer.uid < ids.first + ids.count)
}

export function isOperator({ uid }: Peer): boolean {
  return uid === 0 || uid === process.getuid?.()
}

/** Node has no public way to a socket's descriptor. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { readonly fd?: unknown } | null }
  if (typeof handle?.fd === 'number' && handle.fd >= 0) return handle.fd
  throw new Error('the connection is closed already')
}
