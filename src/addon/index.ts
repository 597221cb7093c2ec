/** The only loader of the addon, and its types. What the functions mean is said where they are
 * defined, in `native/`. */
import { createRequire } from 'node:module'

import type { BrokerAddon } from './broker.ts'
import type { ContainersAddon } from './containers.ts'
import type { FileServerAddon } from './file-server.ts'
import type { SandboxAddon } from './sandbox.ts'
import type { ServiceAddon } from './service.ts'
import type { VirtualFilesAddon } from './virtual.ts'
import type { VolumeAddon } from './volume.ts'

export type Addon = BrokerAddon &
  ContainersAddon &
  FileServerAddon &
  SandboxAddon &
  ServiceAddon &
  VirtualFilesAddon &
  VolumeAddon

/** Found at the same place from `src` and from `dist`. */
const path = '../../native/build/Release/insitu.node'

export const addon = createRequire(import.meta.url)(path) as Addon
