import { VfsError } from '../../errors.ts'
import type { ReservedNames } from '../types.ts'
import { placeOf, type VirtualPlace } from './places.ts'
import type { VirtualFiles } from './virtual.ts'

/** What the tree asks of virtual files. */
export type VirtualTree = Pick<
  VirtualFiles,
  | 'placeOf'
  | 'getattr'
  | 'readdir'
  | 'open'
  | 'create'
  | 'refuseToMake'
  | 'unlink'
  | 'rmdir'
  | 'renameFrom'
  | 'renameOnto'
  | 'setattr'
  | 'truncate'
  | 'xattrs'
  | 'reservedIn'
  | 'removing'
>

/** Where the addon does not load there is neither a jail for programs nor anybody to open their inputs
 * for them. The names stay reserved: a program is refused, and not written to disk as a file. */
export class NoVirtualFiles implements VirtualTree {
  readonly #reserved: ReservedNames
  readonly #isReal: (path: string) => boolean

  constructor(reserved: ReservedNames, isReal: (path: string) => boolean) {
    this.#reserved = reserved
    this.#isReal = isReal
  }

  placeOf(path: string): VirtualPlace | undefined {
    return placeOf(path, this.#reserved, this.#isReal)
  }

  async create(): Promise<never> {
    throw new VfsError('ENOTSUP', 'programs need the addon, which does not load here')
  }

  async renameOnto(): Promise<never> {
    return this.create()
  }

  async refuseToMake(): Promise<never> {
    throw new VfsError('EPERM', 'the name is reserved')
  }

  async reservedIn(): Promise<[]> {
    return []
  }

  async removing(): Promise<() => void> {
    return () => {}
  }

  readonly getattr = absent
  readonly readdir = absent
  readonly open = absent
  readonly unlink = absent
  readonly rmdir = absent
  readonly renameFrom = absent
  readonly setattr = absent
  readonly truncate = absent
  readonly xattrs = absent
}

async function absent(): Promise<never> {
  throw new VfsError('ENOENT', 'no such entry')
}
