/**
 * A file system that is mounted and then answers nothing at all: what a backing on a dead network looks
 * like. Speaks INIT only. A child process, ended by killing it, which frees whoever waits.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface HangingMount extends AsyncDisposable {
  /** From now on nothing is answered. */
  hang(): void
}

const server = fileURLToPath(new URL('serve-hanging.ts', import.meta.url))

/** Until `hang`, an empty directory. Needs root. */
export async function mountHanging(mountPoint: string): Promise<HangingMount> {
  const child = spawn(process.execPath, [server, mountPoint], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve())
    child.once('exit', (code) => reject(new Error(`the hanging mount ended with ${code}`)))
  })
  return {
    hang: () => void child.send('hang'),
    async [Symbol.asyncDispose]() {
      // Closing the device ends what waits.
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null)
        await new Promise((resolve) => {
          child.once('exit', resolve)
        })
      await new Promise((resolve) => {
        spawn('umount', ['-l', mountPoint], { stdio: 'ignore' }).once('close', resolve)
      })
    },
  }
}
