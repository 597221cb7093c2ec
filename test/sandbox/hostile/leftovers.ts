/** What a sandbox might leave behind: processes, descriptors. */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

/** The native halves of volumes close their descriptors when they are collected. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
}

/** Processes below this one. */
export async function processesBelow(ancestor: number): Promise<Process[]> {
  const all = new Map<number, Process>()
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    const [, command = '', parent = ''] = /\((.*)\) \S (\d+)/s.exec(stat) ?? []
    if (parent === '') continue
    all.set(Number(entry), { pid: Number(entry), parent: Number(parent), command })
  }
  const below = (pid: number): boolean => {
    for (let at = all.get(pid); at !== undefined; at = all.get(at.parent))
      if (at.parent === ancestor) return true
    return false
  }
  return [...all.values()].filter(({ pid }) => below(pid))
}

/** What each descriptor of this process points to. */
export async function descriptors(): Promise<string[]> {
  const targets: string[] = []
  for (const fd of await readdir('/proc/self/fd')) {
    const target = await readlink(`/proc/self/fd/${fd}`).catch(() => undefined)
    if (target !== undefined) targets.push(target)
  }
  return targets
}

/** Targets that were not open before; numbers of anonymous ones differ from time to time. */
export function opened(before: readonly string[], after: readonly string[]): string[] {
  const kind = (target: string): string => target.replace(/:\[\d+\]$/, ':')
  const left = before.map(kind)
  return after.map(kind).filter((target) => {
    const at = left.indexOf(target)
    if (at >= 0) left.splice(at, 1)
    // libuv keeps /dev/null once it has started a process.
    return at < 0 && !target.startsWith('/proc/') && target !== '/dev/null'
  })
}
