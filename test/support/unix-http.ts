/** Requests over a Unix socket, as ourselves or as another user (a process of its own). */
import { spawn } from 'node:child_process'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  readonly json: Record<string, unknown>
}

export interface Asked {
  readonly method?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export async function ask(socketPath: string, path: string, asked: Asked = {}): Promise<Answer> {
  const body = asked.body === undefined ? undefined : JSON.stringify(asked.body)
  const method = asked.method ?? (body === undefined ? 'GET' : 'POST')
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  return await new Promise((resolve, reject) => {
    const request = httpRequest(
      { socketPath, path, method, headers: { ...headers, ...asked.headers }, agent: false },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () => {
          const text = Buffer.concat(chunks).toString('utf8')
          const { statusCode: status = 0, headers } = response
          const isJson = /json/.test(headers['content-type'] ?? '')
          resolve({ status, headers, text, json: isJson ? toObject(text) : {} })
        })
      },
    )
    request.once('error', reject)
    request.end(body)
  })
}

function toObject(text: string): Record<string, unknown> {
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
}

/** Bytes as they are; resolves with all that came until the end, or until `ms` passed. */
export async function raw(
  socketPath: string,
  bytes: string | Buffer,
  ms = 20_000,
): Promise<string> {
  return await new Promise((resolve) => {
    const socket = connect(socketPath)
    let text = ''
    const timer = setTimeout(() => socket.destroy(), ms)
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('error', () => undefined)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve(text)
    })
    socket.write(bytes)
  })
}

const SCRIPT = `
import { ask } from ${JSON.stringify(import.meta.url)}
const [socket, all] = process.argv.slice(1)
const answers = []
for (const [path, asked] of JSON.parse(all))
  answers.push(await ask(socket, path, asked).catch(
    (error) => ({ status: 0, headers: {}, text: error.code, json: {} })))
process.stdout.write(JSON.stringify(answers))`

/** `status` 0: not even a connection; `text` has the errno. */
export async function asksAs(
  uid: number,
  socketPath: string,
  all: readonly (readonly [path: string, asked: Asked])[],
): Promise<Answer[]> {
  const child = spawn(
    process.execPath,
    ['--input-type=module', '--eval', SCRIPT, socketPath, JSON.stringify(all)],
    { uid, gid: uid, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  await new Promise((resolve) => child.once('close', resolve))
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as Answer[]
}

export async function askAs(
  uid: number,
  socketPath: string,
  path: string,
  asked: Asked = {},
): Promise<Answer> {
  const [answer] = await asksAs(uid, socketPath, [[path, asked]])
  if (answer === undefined) throw new Error('no answer')
  return answer
}
