/** A mount without programs, for where the addon does not load: nothing here imports it. */
import type { Negotiated, ReservedNames, Statistics } from '../types.ts'
import { NEGOTIATED, Session, type SessionOptions } from './session.ts'
import { NoVirtualFiles } from './virtual-tree.ts'

export interface OrdinaryServer {
  readonly negotiated: Negotiated
  statistics(): Statistics
  unmount(): Promise<void>
}

/** Mounts; VfsError when that fails, and then nothing is mounted. */
export async function mountOrdinaryFiles(
  options: Omit<SessionOptions, 'listReserved'> & { readonly reserved: ReservedNames },
): Promise<OrdinaryServer> {
  const session = new Session({ ...options, listReserved: false })
  const { ordinary } = session
  await session.start(new NoVirtualFiles(options.reserved, (path) => ordinary.exists(path)))
  return {
    negotiated: NEGOTIATED,
    statistics: () => session.statistics(0),
    unmount: () => session.unmount(),
  }
}
