/** Asks a running mount through its control socket. */
import { request } from 'node:http'

const TIMEOUT_MS = 30_000 // an import compiles; everything else is instant

export class ControlError extends Error {
  override readonly name = 'ControlError'
}

export async function askJson<T>(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<T> {
  return JSON.parse((await ask(socketPath, method, path, body)).toString('utf8')) as T
}

export function ask(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const bytes = Buffer.concat(chunks)
        if (response.statusCode === 200) resolve(bytes)
        else reject(new ControlError(reason(bytes)))
      })
    })
    call.on('timeout', () => call.destroy(new ControlError('the mount does not answer')))
    call.on('error', (error: NodeJS.ErrnoException) => {
      const denied = error.code === 'EACCES' || error.code === 'EPERM'
      reject(denied ? new ControlError('only the user who mounted it and root may ask') : error)
    })
    call.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

function reason(bytes: Buffer): string {
  try {
    const { error } = JSON.parse(bytes.toString('utf8')) as { error?: unknown }
    return typeof error === 'string' ? error : 'the mount refused'
  } catch {
    return 'the mount refused'
  }
}
