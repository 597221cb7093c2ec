/**
 * One connection over a Unix socket that is kept and asked once at a time. It does no more than it must: of what
 * Node's own client adds, a third of a millisecond, nothing is the broker's.
 */
import { connect, type Socket } from 'node:net'

const END_OF_HEAD = '\r\n\r\n'

export class Client {
  readonly #socket: Socket
  #got = ''
  #answer: PromiseWithResolvers<void> | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').on('data', (text) => this.#read(String(text)))
    socket.on('close', () => this.#answer?.reject(new Error('the connection was closed')))
    socket.on('error', (error) => this.#answer?.reject(error))
  }

  static async connect(path: string): Promise<Client> {
    const socket = connect(path)
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new Client(socket)
  }

  /** Throws what the answer says when that is no success. */
  post(route: string, body: object): Promise<void> {
    const text = JSON.stringify(body)
    const head = [
      'host: localhost',
      'content-type: application/json',
      `content-length: ${text.length}`,
    ]
    this.#answer = Promise.withResolvers()
    this.#socket.write(`POST ${route} HTTP/1.1\r\n${head.join('\r\n')}${END_OF_HEAD}${text}`)
    return this.#answer.promise
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#got += text
    const head = this.#got.indexOf(END_OF_HEAD)
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.#got)?.[1] ?? 0)
    if (head < 0 || this.#got.length < head + END_OF_HEAD.length + length) return
    const answer = this.#got
    this.#got = ''
    const status = Number(answer.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length))
    if (status < 300) this.#answer?.resolve()
    else this.#answer?.reject(new Error(answer))
  }
}
