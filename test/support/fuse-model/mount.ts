/** The model on a mount point of its own, served by a child process. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface ModelMount extends AsyncDisposable {
  readonly mountPoint: string
}

const server = fileURLToPath(new URL('serve.ts', import.meta.url))

export async function modelMount(): Promise<ModelMount> {
  const mountPoint = mkdtempSync(path.join(tmpdir(), 'insitu-model-'))
  const child = spawn(process.execPath, [server, mountPoint], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const close = async (): Promise<void> => {
    child.stdin.end()
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await exited
    clearTimeout(timer)
    // Only after a crash is there anything left to detach.
    spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
    rmdirSync(mountPoint)
  }
  const ready = await Promise.race([
    createInterface(child.stdout)[Symbol.asyncIterator]().next(),
    exited.then(() => ({ done: true as const })),
  ])
  if (ready.done) {
    await close()
    throw new Error('the model did not come up')
  }
  return { mountPoint, [Symbol.asyncDispose]: close }
}
