/** A shell in a container that is told what to do, and is never started anew. */
import { spawn, type ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { exit } from './cli.ts'

/** The usual answers come at once; what waits longer is stuck. */
const DEADLINE_MS = 20_000

export class ConsumerShell {
  readonly child: ChildProcess
  #output = ''
  #asked = 0
  #wake: () => void = () => undefined

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout?.on('data', (data: Buffer) => {
      this.#output += data.toString()
      this.#wake()
    })
    child.once('exit', () => this.#wake())
    child.stdin?.on('error', () => undefined) // it may end without reading
  }

  static in(command: readonly string[]): ConsumerShell {
    const [program = '', ...args] = command
    return new ConsumerShell(
      spawn(program, [...args, 'sh'], { stdio: ['pipe', 'pipe', 'ignore'], cwd: '/' }),
    )
  }

  /** What it says to that, errors too; one at a time. */
  async ask(command: string): Promise<string> {
    const mark = `=${(this.#asked += 1)}=`
    this.#output = ''
    this.child.stdin?.write(`{ ${command}\n} 2>&1 </dev/null; echo "${mark}"\n`)
    const late = setTimeout(() => this.child.kill('SIGKILL'), DEADLINE_MS)
    while (!this.#output.includes(mark)) {
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`the container ended at: ${command}: ${this.#output}`)
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    clearTimeout(late)
    return this.#output.slice(0, this.#output.indexOf(mark)).trim()
  }

  /** A process in there: unshare becomes the shell, bubblewrap has it as its child. */
  async pid(): Promise<number> {
    let pid = this.child.pid ?? 0
    for (;;) {
      const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
      const name = await readFile(`/proc/${pid}/comm`, 'utf8')
      if (name.trim() !== 'bwrap') return pid
      pid = Number(text.trim().split(' ')[0])
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await exit(this.child)
  }
}
