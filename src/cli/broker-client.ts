/** What the commands of the broker share: whom to ask, and problems as exit codes. */
import { access, constants, readdir } from 'node:fs/promises'
import path from 'node:path'
import Table from 'cli-table3'
import { type Grant, InsituClient, ProblemError } from '../broker/client.ts'
import {
  API_SOCKET,
  adminSocket,
  currentEnvironment,
  runtimeDirectory,
  tenantEndpoint,
} from '../config/paths.ts'
import { CliError, EXIT, oneLine, type ExitCode } from './exit.ts'

const OVER_LIMIT = new Set([
  'ttl-too-long',
  'too-many-grants',
  'quota-too-large',
  'not-enough-space',
  'too-many-requests',
  'over-limit',
])

export function adminClient(): InsituClient {
  return new InsituClient(adminSocket(runtimeDirectory(currentEnvironment())))
}

/** The named one, or the only one that this user reaches; in a container, the one that is there. */
export async function tenantClient(name: string | undefined): Promise<InsituClient> {
  const runtime = runtimeDirectory(currentEnvironment())
  if (name !== undefined) {
    const served = await servedTenants(runtime)
    // With none at all, it is the daemon that is not there.
    if (served.length > 0 && !served.includes(name))
      throw new CliError(EXIT.failed, `there is no tenant ${name} here, but ${served.join(', ')}`)
    return new InsituClient(path.join(tenantEndpoint(runtime, name), API_SOCKET))
  }
  const inContainer = path.join(runtime, API_SOCKET)
  if (await reaches(inContainer)) return new InsituClient(inContainer)
  return new InsituClient(path.join(tenantEndpoint(runtime, await onlyTenant()), API_SOCKET))
}

export async function onlyTenant(): Promise<string> {
  const runtime = runtimeDirectory(currentEnvironment())
  const [only, ...others] = await servedTenants(runtime)
  if (only === undefined)
    throw new CliError(EXIT.unavailable, `no tenant is served below ${runtime}; see insitu serve`)
  if (others.length > 0)
    throw new CliError(EXIT.usage, 'there are several tenants; give --tenant NAME')
  return only
}

async function servedTenants(runtime: string): Promise<string[]> {
  const names = await readdir(path.join(runtime, 'tenants')).catch(() => [])
  return names.toSorted((one, other) => (one < other ? -1 : 1))
}

/** Where it stands, for people: in the tenant's mount, or as CONTAINER:TARGET. */
export function placeOf({ at, inside }: Pick<Grant, 'at' | 'inside'>): string {
  if (inside === undefined) return at
  return `${inside.container?.slice(0, 12) ?? inside.pid}:${inside.target}`
}

async function reaches(socket: string): Promise<boolean> {
  return await access(socket, constants.W_OK).then(
    () => true,
    () => false,
  )
}

/** Runs a command's requests; what the broker refuses ends it with one line and its exit code. */
export async function asking<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ProblemError)
      throw new CliError(exitCodeOf(error), error.message, { cause: error })
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ECONNREFUSED')
      throw new CliError(EXIT.unavailable, 'no daemon answers; start one with insitu serve')
    if (code === 'EACCES')
      throw new CliError(EXIT.refused, 'only the operator may ask that; try as root')
    throw error
  }
}

function exitCodeOf({ status, code }: ProblemError): ExitCode {
  if (OVER_LIMIT.has(code)) return EXIT.overLimit
  if (code === 'bad-request' || code === 'bad-path') return EXIT.usage
  if (status === 403 || code === 'unknown-volume') return EXIT.refused
  if (status === 503 || status === 501) return EXIT.unavailable
  return EXIT.failed
}

export function show(value: unknown, json: true | undefined, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(value, undefined, 2)}\n` : text())
}

/** Plain columns for pipes, a frame for a terminal. */
export function columns(
  head: readonly string[],
  rows: readonly (readonly (string | number | boolean | undefined)[])[],
): string {
  const bare = {
    top: '',
    'top-mid': '',
    'top-left': '',
    'top-right': '',
    bottom: '',
    'bottom-mid': '',
    'bottom-left': '',
    'bottom-right': '',
    left: '',
    'left-mid': '',
    mid: '',
    'mid-mid': '',
    right: '',
    'right-mid': '',
    middle: '  ',
  }
  const style = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  const table = new Table({ head: [...head], style, chars: bare })
  for (const row of rows)
    table.push(row.map((cell) => (cell === undefined ? '-' : oneLine(String(cell)))))
  return `${table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')}\n`
}
