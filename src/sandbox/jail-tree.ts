/** What a worker sees of the machine: Node, the libraries it is linked with, and the worker's code. */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Bind {
  readonly source: string
  readonly target: string
}

/** Inside the jail. */
export const LIBRARIES = '/lib'
const ROOT = '/insitu'
export const NODE = `${ROOT}/node`

const LOADERS: Partial<Record<NodeJS.Architecture, string>> = {
  x64: '/lib64/ld-linux-x86-64.so.2',
  arm64: '/lib/ld-linux-aarch64.so.1',
}

/** The packages that the worker imports, and what they import. */
const PACKAGES = ['isolated-vm', 'node-gyp-build']
const ADDONS = ['worker.node', 'guest.node']

const packageRoot = fileURLToPath(new URL('../..', import.meta.url))
/** `src` in a checkout, `dist` when built: the tree in the jail has the same shape. */
const codeFolder = path.basename(fileURLToPath(new URL('..', import.meta.url)))
const extension = path.extname(fileURLToPath(import.meta.url))

export const WORKER_MAIN = `worker/main${extension}`

/** The C library, its loader and the few libraries that this very Node has loaded. */
export function libraryBinds(): Bind[] {
  const binds: Bind[] = []
  const loader = LOADERS[process.arch]
  if (loader !== undefined) binds.push({ source: realpathSync(loader), target: loader })
  for (const file of loadedLibraries()) {
    // Programs ask for a library by its soname, which is a link to the file or the file itself.
    const folder = path.dirname(file)
    const stem = path.basename(file).split('.so', 1)[0] ?? ''
    for (const name of readdirSync(folder)) {
      if (!name.startsWith(`${stem}.so`)) continue
      const candidate = path.join(folder, name)
      if (resolves(candidate, file)) binds.push({ source: file, target: `${LIBRARIES}/${name}` })
    }
  }
  return binds
}

function loadedLibraries(): Set<string> {
  const files = new Set<string>()
  for (const match of readFileSync('/proc/self/maps', 'utf8').matchAll(/ (\/[^\n]*\.so[.\d]*)$/gm))
    if (match[1] !== undefined) files.add(match[1])
  return files
}

function resolves(link: string, file: string): boolean {
  try {
    return realpathSync(link) === realpathSync(file)
  } catch {
    return false
  }
}

/** Node and the worker, and where its entry stands in the jail. */
export function workerBinds(): { binds: Bind[]; main: string } {
  const binds: Bind[] = [{ source: realpathSync(process.execPath), target: NODE }]
  const add = (source: string, target: string): void => {
    binds.push({ source: realpathSync(source), target: `${ROOT}/${target}` })
  }
  add(path.join(packageRoot, 'package.json'), 'package.json')
  add(path.join(packageRoot, codeFolder, 'worker'), `${codeFolder}/worker`)
  const addons = path.join('native', 'build', 'Release')
  for (const name of ADDONS) {
    const file = path.join(packageRoot, addons, name)
    if (existsSync(file)) add(file, path.join(addons, name))
  }
  for (const name of PACKAGES) add(packageFolder(name), `node_modules/${name}`)
  return { binds, main: `${ROOT}/${codeFolder}/${WORKER_MAIN}` }
}

/** Wherever npm put it: below us, or hoisted beside us. */
function packageFolder(name: string): string {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    const candidate = path.join(folder, name)
    if (existsSync(path.join(candidate, 'package.json'))) return candidate
  }
  throw new Error(`the package ${name} is missing: install insitu again`)
}

/** The worker's entry as this process sees it, for running it without a jail. */
export const workerMainOutside = path.join(packageRoot, codeFolder, WORKER_MAIN)
export const launcherPath = path.join(packageRoot, 'native/build/Release/launcher')
