/**
 * Ordinary files: every row on the backing directory, on insitu's mounts of it and on those of its
 * peers, in turns within one run, so that what else the machine does hits all alike. Shown are
 * ratios to the backing directory, each the median over the turns.
 *
 * `scripts/bench/files [--quick] [--json FILE] [--docs] [--only ROW,…] [--places NAME,…]`
 * `scripts/bench/files --from FILE --docs` draws again what was measured before.
 */
import { execFile, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { writeDocs } from './files-docs.ts'
import { mountPlaces, mountsBelow, type Place } from './files-places.ts'
import { printReport, type Measured, type Report } from './files-report.ts'
import { FULL, label, QUICK, rowGroups, type RowGroup, type Scale } from './files-rows.ts'
import { compile } from './measure.ts'

const run = promisify(execFile)

/** What it writes stays below 2 GB; the rest is the filesystem's own need. */
const LEAST_FREE_BYTES = 3 * 2 ** 30
/** A peer that hangs, or is as slow as that, loses the row. */
const ROW_TIMEOUT_MS = 30_000

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    from: { type: 'string' },
    docs: { type: 'boolean', default: false },
    only: { type: 'string' },
    places: { type: 'string' },
    turns: { type: 'string' },
  },
})

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => stop.abort(new Error(`stopped by ${signal}`)))

if (options.from === undefined) {
  const report = await bench(options.quick ? QUICK : FULL)
  printReport(report)
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report)}\n`)
  if (options.docs) writeDocs(report)
} else {
  const report = JSON.parse(readFileSync(options.from, 'utf8')) as Report
  printReport(report)
  if (options.docs) writeDocs(report)
}

async function bench(scale: Scale): Promise<Report> {
  // Sockets have short paths, and other mounts' records are no business of ours.
  const scratch = mkdtempSync(path.join(tmpdir(), 'insitu-files-'))
  process.env['INSITU_RUNTIME_DIR'] = path.join(scratch, 'run')
  try {
    const { bavail, bsize } = statfsSync(scratch)
    if (bavail * bsize < LEAST_FREE_BYTES) throw new Error(`${scratch} has less than 3 GB free`)
    return await measureAll(scratch, scale)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    console.error(String(stop.signal.reason))
    process.exitCode = 130
    process.on('exit', () => cleanUp(scratch))
    process.exit()
  } finally {
    cleanUp(scratch)
  }
}

/** Leaves no mount and no file; twice is as good as once. */
function cleanUp(scratch: string): void {
  for (const mountPoint of mountsBelow(scratch)) {
    // Ours are asked to end, so that their daemons do.
    if (spawnSync('fusermount3', ['-u', mountPoint], { stdio: 'ignore' }).status !== 0)
      spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
  }
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 })
}

async function measureAll(scratch: string, scale: Scale): Promise<Report> {
  const started = Date.now()
  const loadBefore = loadavg()[0] ?? 0
  const program = compile('file-operations.cc', scratch)
  const backing = path.join(scratch, 'backing')
  await makeData(program, backing, scale)
  const only = options.places?.split(',')
  const { places, missing } = await mountPlaces(scratch, backing, only, stop.signal)
  for (const { name, why } of missing) console.error(`without ${name}: ${why}`)
  for (const place of places) await prepare(place, backing)

  const turns = Number(options.turns ?? scale.turns)
  const measured: Measured[] = []
  for (const group of rowGroups(scale)) {
    if (options.only !== undefined && !options.only.split(',').includes(group.key)) continue
    for (const count of group.counts) {
      const rows = group.rows.map((row): Measured => {
        const { name, unit, kind, aim } = row
        const text = label(group, row, count)
        return { name, label: text, count, unit, kind, aim: aim ?? null, samples: {} }
      })
      const gaveUp = new Set<Place>()
      for (let turn = 0; turn < turns; turn += 1) {
        // Nobody always comes first, or after the same neighbour.
        for (let i = 0; i < places.length; i += 1) {
          const place = places[(i + turn) % places.length]
          if (place === undefined || gaveUp.has(place)) continue
          if (!(await measure(program, place, group, count, scale, rows))) gaveUp.add(place)
        }
      }
      measured.push(...rows)
      process.stderr.write('.')
    }
  }
  process.stderr.write('\n')
  return {
    date: new Date().toISOString(),
    quick: options.quick,
    turns,
    seconds: Math.round((Date.now() - started) / 1000),
    machine: {
      kernel: release(),
      processors: cpus().length,
      model: cpus()[0]?.model ?? '',
      filesystem: spawnSync('findmnt', ['-no', 'FSTYPE', '-T', scratch], {
        encoding: 'utf8',
      }).stdout.trim(),
      loadBefore,
      loadAfter: loadavg()[0] ?? 0,
    },
    places: places.map((place) => place.name),
    missing,
    rows: measured,
  }
}

async function makeData(program: string, backing: string, scale: Scale): Promise<void> {
  const fill = (folder: string, count: number, bytes: number) =>
    run(program, ['fill', folder, `${count}`, `${bytes}`], { signal: stop.signal })
  mkdirSync(backing)
  writeFileSync(path.join(backing, 'big'), Buffer.alloc(scale.bigMiB * 2 ** 20, 'x'))
  for (const count of scale.counts) {
    await fill(path.join(backing, `n${count}`), count, 4096)
    await fill(path.join(backing, `grow${count}`), count, 0)
  }
  // In folders of 50 and of 100.
  for (const [name, files, each] of [
    ['tree', scale.treeFiles, 50],
    ['repo', scale.repositoryFiles, 100],
  ] as const) {
    mkdirSync(path.join(backing, name))
    for (let i = 0; i < files / each; i += 1)
      await fill(path.join(backing, name, `d${i}`), each, 1000)
  }
  const repository = path.join(backing, 'repo')
  const git = (...words: string[]) =>
    run('git', ['-C', repository, ...words], { signal: stop.signal })
  await git('init', '-q')
  await git('add', '.')
  const who = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost']
  await git(...who, 'commit', '-q', '-m', 'All')
}

async function prepare(place: Place, backing: string): Promise<void> {
  const work = workOf(place)
  mkdirSync(work)
  if (place.ownStore) {
    for (const name of ['big', 'tree', 'repo', 'n10', 'n1000', 'grow10', 'grow1000'])
      cpSync(path.join(backing, name), path.join(place.folder, name), { recursive: true })
  }
  const repository = path.join(place.folder, 'repo')
  const index = path.join(work, 'index')
  cpSync(path.join(repository, '.git/index'), index)
  await run('git', ['-C', repository, 'status', '--porcelain'], {
    env: { ...process.env, GIT_INDEX_FILE: index },
    signal: stop.signal,
    timeout: ROW_TIMEOUT_MS,
  }).catch(() => stop.signal.throwIfAborted())
}

function workOf({ name, folder }: Place): string {
  return path.join(folder, `work-${name.replaceAll(' ', '-')}`)
}

/** Adds a sample for each row; what fails or is not there has none. False: do not try again. */
async function measure(
  program: string,
  place: Place,
  group: RowGroup,
  count: number,
  scale: Scale,
  rows: readonly Measured[],
): Promise<boolean> {
  stop.signal.throwIfAborted()
  if (place.ownStore && count > 1_000 && group.counts.length > 1) return false
  const words = [group.key, `${scale.seconds}`, place.folder, workOf(place), `${count}`]
  if (group.key === 'two') {
    if (place.second !== undefined) words.push(place.second)
    else if (place.name !== 'backing') return false
  }
  const child = run(program, words, {
    signal: stop.signal,
    timeout: ROW_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  const { stdout, stderr } = await child.catch((error: unknown) => {
    stop.signal.throwIfAborted()
    const { stdout: found, stderr: why } = error as { stdout?: string; stderr?: string }
    return {
      stdout: found ?? '',
      stderr: why === undefined || why === '' ? 'it took too long' : why,
    }
  })
  // What it got through counts, also when it then failed.
  for (const line of stdout.trim().split('\n')) {
    const [name, value] = line.split('\t')
    const row = rows.find((candidate) => candidate.name === name)
    if (row !== undefined) (row.samples[place.name] ??= []).push(Number(value))
  }
  if (stderr !== '') console.error(`\n${place.name} has no "${group.key}": ${stderr.trim()}`)
  return stderr === ''
}
