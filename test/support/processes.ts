/** What processes below a daemon do, by /proc. */
import * as fs from 'node:fs'

/** Whether a worker below this process has that file open. */
export function holdsInput(
  pid: number,
  file: { readonly ino: number; readonly dev: number },
): boolean {
  return childrenOf(pid).some(
    (child) => (!isForked(child, pid) && opens(child, file)) || holdsInput(child, file),
  )
}

function childrenOf(pid: number): number[] {
  try {
    return fs
      .readdirSync(`/proc/${pid}/task`)
      .flatMap((task) => fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' '))
      .filter(Boolean)
      .map(Number)
  } catch {
    return [] // it ended meanwhile
  }
}

/** Between its fork and its exec a child has all that its parent has open. */
function isForked(child: number, parent: number): boolean {
  const command = (pid: number): string => fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  try {
    return command(child) === command(parent)
  } catch {
    return true // it ended meanwhile
  }
}

function opens(pid: number, { ino, dev }: { readonly ino: number; readonly dev: number }): boolean {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const info = fs.statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false })
      return info?.ino === ino && info.dev === dev
    })
  } catch {
    return false
  }
}
