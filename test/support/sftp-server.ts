/** A file server on the loopback that sshfs speaks to without a shell or keys: one sftp-server a connection. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { exit } from './cli.ts'

const PROGRAM = '/usr/lib/openssh/sftp-server'

export class SftpServer implements AsyncDisposable {
  readonly #server: Server
  readonly #sessions = new Map<ChildProcess, Socket>()

  private constructor() {
    this.#server = createServer((socket) => {
      const child = spawn(PROGRAM, { stdio: ['pipe', 'pipe', 'inherit'] })
      this.#sessions.set(child, socket)
      for (const stream of [socket, child.stdin]) stream?.on('error', () => undefined)
      socket.pipe(child.stdin)
      child.stdout.pipe(socket)
      child.once('exit', () => {
        this.#sessions.delete(child)
        socket.destroy()
      })
    })
  }

  static async listen(port = 0): Promise<SftpServer> {
    const server = new SftpServer()
    await new Promise<void>((resolve) => server.#server.listen(port, '127.0.0.1', resolve))
    return server
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Nothing is answered any more, as by a machine that lost its network. */
  hang(): void {
    for (const child of this.#sessions.keys()) child.kill('SIGSTOP')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    for (const child of [...this.#sessions.keys()]) {
      child.kill('SIGKILL')
      await exit(child)
    }
  }
}
