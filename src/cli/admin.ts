/** Asks the daemon of many tenants on its admin socket; a refusal ends the command with its reason. */
import { request } from 'node:http'
import { Option } from 'commander'
import { adminSocket, currentEnvironment, runtimeDirectory } from '../config/paths.ts'
import { CliError, EXIT, type ExitCode } from './exit.ts'

/** A tenant starts within seconds; a graceful detach waits longer, and says so. */
const TIMEOUT_MS = 120_000
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

export function runtimeOption(): Option {
  return new Option('--runtime <dir>', 'the runtime directory of the daemon').default(
    runtimeDirectory(currentEnvironment()),
  )
}

export async function askAdmin<T>(
  runtime: string,
  method: 'GET' | 'POST' | 'DELETE' | 'PUT',
  path: string,
  body?: unknown,
): Promise<T> {
  const { status, text } = await send(adminSocket(runtime), method, path, body)
  if (status >= 200 && status < 300) return (text === '' ? {} : JSON.parse(text)) as T
  const { title, detail } = problem(text)
  throw new CliError(exitCodeOf(status), detail ?? title ?? `the daemon answered ${status}`)
}

function problem(text: string): { title?: string; detail?: string } {
  try {
    return JSON.parse(text) as { title?: string; detail?: string }
  } catch {
    return {}
  }
}

function exitCodeOf(status: number): ExitCode {
  if (status === 403) return EXIT.refused
  if (status === 429 || status === 507) return EXIT.overLimit
  return status === 503 ? EXIT.unavailable : EXIT.failed
}

function send(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const headers = payload === undefined ? {} : { 'content-type': 'application/json' }
    const call = request({ socketPath, method, path, headers, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = []
      let sizeBytes = 0
      response.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length
        if (sizeBytes > MAX_ANSWER_BYTES) call.destroy(new Error('the answer has no end'))
        chunks.push(chunk)
      })
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        resolve({ status: response.statusCode ?? 0, text })
      })
    })
    call.on('timeout', () => call.destroy(new Error('the daemon does not answer')))
    call.on('error', (error: NodeJS.ErrnoException) => reject(unreachable(socketPath, error)))
    call.end(payload)
  })
}

function unreachable(socketPath: string, error: NodeJS.ErrnoException): Error {
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new CliError(
        EXIT.unavailable,
        `no "insitu serve" listens at ${socketPath}: start it, or name its directory with --runtime`,
      )
    case 'EACCES':
    case 'EPERM':
      return new CliError(EXIT.refused, 'only the operator may ask: run this as root')
    default:
      return error
  }
}
