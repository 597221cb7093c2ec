/**
 * Who holds a grant: processes with a file of it open or mapped, or standing in it. Read from /proc
 * alone: links and tables there are the kernel's own, so that nothing here touches the mount, which
 * this very process serves. In every mount namespace the same mount has another number.
 */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { Turns } from '../turns.ts'
import { isWithin } from './paths.ts'

export interface Holder {
  readonly pid: number
  readonly uid: number
  readonly command: string
  readonly how: 'open' | 'mapped' | 'standing'
}

export interface HolderQuery {
  /** Of the mount's device; its major is 0. */
  readonly deviceMinor: number
  /** Relative to the mount. */
  readonly at: string
  readonly proc?: string
}

/** Who reads the answer ends some of them and asks again. */
const MAX_HOLDERS = 32
/** A machine with more open files than that is told about in part. */
const MAX_LOOKS = 200_000
const TIME_MS = 2_000

/** Places where one mount namespace has the mount: mount id → what of the mount is there, and where. */
type Places = ReadonlyMap<string, { readonly root: string; readonly mountPoint: string }>

export async function findHolders(query: HolderQuery): Promise<Holder[]> {
  const proc = query.proc ?? '/proc'
  const search = new Search(query, proc)
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name))
  for (const pid of pids) {
    if (search.isOver()) break
    await search.process(pid).catch(() => undefined) // it is gone, or not ours to see
  }
  return search.found
}

/** A look goes through all processes of the machine: of a tenant one at a time, and who asks for the same
 * meanwhile has the same answer. */
export class HolderLooks {
  readonly #turns = new Turns<string>()
  readonly #underWay = new Map<string, Promise<Holder[]>>()

  of(tenant: string, grant: string, query: HolderQuery): Promise<Holder[]> {
    const known = this.#underWay.get(grant)
    if (known !== undefined) return known
    const look = this.#turns
      .take(tenant, () => findHolders(query))
      .finally(() => this.#underWay.delete(grant))
    this.#underWay.set(grant, look)
    return look
  }
}

class Search {
  readonly found: Holder[] = []
  readonly #query: HolderQuery
  readonly #proc: string
  readonly #namespaces = new Map<string, Places>()
  readonly #endMs = Date.now() + TIME_MS
  #looks = 0

  constructor(query: HolderQuery, proc: string) {
    this.#query = query
    this.#proc = proc
  }

  isOver(): boolean {
    return this.found.length >= MAX_HOLDERS || this.#looks > MAX_LOOKS || Date.now() > this.#endMs
  }

  async process(pid: string): Promise<void> {
    const folder = `${this.#proc}/${pid}`
    const places = await this.#places(folder)
    if (places.size === 0) return
    const how =
      ((await this.#opens(folder, places)) && 'open') ||
      ((await this.#maps(folder, places)) && 'mapped') ||
      ((await this.#stands(folder, places)) && 'standing')
    if (how === false) return
    const status = await readFile(`${folder}/status`, 'utf8')
    this.found.push({
      pid: Number(pid),
      uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? -1),
      command: (await readFile(`${folder}/comm`, 'utf8')).trimEnd(),
      how,
    })
  }

  async #places(folder: string): Promise<Places> {
    const namespace = await readlink(`${folder}/ns/mnt`)
    const known = this.#namespaces.get(namespace)
    if (known !== undefined) return known
    const places = parsePlaces(
      await readFile(`${folder}/mountinfo`, 'utf8'),
      this.#query.deviceMinor,
    )
    this.#namespaces.set(namespace, places)
    return places
  }

  async #opens(folder: string, places: Places): Promise<boolean> {
    for (const fd of await readdir(`${folder}/fd`)) {
      if (this.#looks++ > MAX_LOOKS) return false
      // It may be closed meanwhile.
      const target = await readlink(`${folder}/fd/${fd}`).catch(() => '')
      if (!target.startsWith('/') || !this.#isIn(target, places)) continue
      const info = await readFile(`${folder}/fdinfo/${fd}`, 'utf8').catch(() => '')
      if (places.has(/^mnt_id:\s+(\d+)/m.exec(info)?.[1] ?? '')) return true
    }
    return false
  }

  async #maps(folder: string, places: Places): Promise<boolean> {
    const maps = await readFile(`${folder}/maps`, 'utf8')
    const device = `00:${this.#query.deviceMinor.toString(16).padStart(2, '0')}`
    return maps.split('\n').some((line) => {
      const [, , , where] = line.split(/\s+/, 4)
      const path = line.indexOf('/')
      return where === device && path > 0 && this.#isIn(unescape(line.slice(path)), places)
    })
  }

  async #stands(folder: string, places: Places): Promise<boolean> {
    const links = await Promise.all(
      ['cwd', 'root'].map((name) => readlink(`${folder}/${name}`).catch(() => '')),
    )
    return links.some((target) => target.startsWith('/') && this.#isIn(target, places))
  }

  #isIn(target: string, places: Places): boolean {
    const path = target.replace(/ \(deleted\)$/, '')
    for (const { root, mountPoint } of places.values()) {
      const below = mountPoint === '/' ? path.slice(1) : path.slice(mountPoint.length + 1)
      const inside = mountPoint === '/' || path === mountPoint || path.startsWith(`${mountPoint}/`)
      if (!inside) continue
      const whole = [root.slice(1), below].filter((part) => part !== '').join('/')
      if (isWithin(whole, this.#query.at)) return true
    }
    return false
  }
}

/** Format: proc_pid_mountinfo(5). */
export function parsePlaces(mountinfo: string, deviceMinor: number): Places {
  const places = new Map<string, { root: string; mountPoint: string }>()
  for (const line of mountinfo.split('\n')) {
    const [id, , device, root, mountPoint] = line.split(' ')
    if (id === undefined || device !== `0:${deviceMinor}`) continue
    places.set(id, { root: unescape(root ?? '/'), mountPoint: unescape(mountPoint ?? '/') })
  }
  return places
}

/** Space, tab, newline and backslash come as octal. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
