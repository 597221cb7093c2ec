/** Where insitu keeps what is not in the backing directory. */
import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import path from 'node:path'

export interface Environment {
  readonly uid: number
  readonly variables: Readonly<Record<string, string | undefined>>
}

const SYSTEM_RUNTIME_DIRECTORY = '/run/insitu'

export function currentEnvironment(): Environment {
  return { uid: process.getuid?.() ?? 0, variables: process.env }
}

/** Programs and results of one volume, found again by the path of its backing directory. */
export function stateDirectory(backing: string, { uid, variables }: Environment): string {
  const base =
    uid === 0
      ? '/var/lib/insitu'
      : path.join(
          absolute(variables['XDG_STATE_HOME']) ??
            path.join(absolute(variables['HOME']) ?? homedir(), '.local/state'),
          'insitu',
        )
  const digest = createHash('sha256').update(backing).digest('hex').slice(0, 16)
  return path.join(base, 'volumes', digest)
}

/** Sockets and the register of running mounts. INSITU_RUNTIME_DIR stands for it alone. */
export function runtimeDirectory({ uid, variables }: Environment): string {
  const chosen = absolute(variables['INSITU_RUNTIME_DIR'])
  if (chosen !== undefined) return chosen
  if (uid === 0) return SYSTEM_RUNTIME_DIRECTORY
  const user = absolute(variables['XDG_RUNTIME_DIR'])
  return user === undefined ? `/tmp/insitu-${uid}` : path.join(user, 'insitu')
}

/** Where running mounts are looked up: one's own, and those of root, which everybody may see. */
export function runtimeDirectories(environment: Environment): string[] {
  const own = runtimeDirectory(environment)
  const chosen = own === absolute(environment.variables['INSITU_RUNTIME_DIR'])
  return chosen ? [own] : [...new Set([SYSTEM_RUNTIME_DIRECTORY, own])]
}

/** The XDG specification tells to ignore relative values. */
function absolute(value: string | undefined): string | undefined {
  return value !== undefined && path.isAbsolute(value) ? value : undefined
}

/** The daemon of many tenants: what operators ask, only for its own user. */
export function adminSocket(runtimeDirectory: string): string {
  return path.join(runtimeDirectory, 'admin.sock')
}

export const API_SOCKET = 'api.sock'

/** Bind-mounted into the tenant's containers; holds the socket. */
export function tenantEndpoint(runtimeDirectory: string, tenant: string): string {
  return path.join(runtimeDirectory, 'tenants', tenant)
}

/** Where images are mounted. */
export function imagePoints(runtimeDirectory: string): string {
  return path.join(runtimeDirectory, 'volumes')
}

/** The tree in the image of that name that is granted; not there when it is not mounted. */
export function imageBacking(runtimeDirectory: string, name: string): string {
  return path.join(imagePoints(runtimeDirectory), name, 'data')
}
