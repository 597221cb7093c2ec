/** `insitu program`: the programs that are attached on a mount. */
import { open, readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { ProgramSummary, StageOutcome } from '../compute/types.ts'
import { formatSize } from '../config/units.ts'
import { ask, askJson } from '../daemon/control-client.ts'
import type { ProgramImport } from '../daemon/control-types.ts'
import { CliError, EXIT } from './exit.ts'
import { locate, locateDirectory, runningMounts, type Located } from './locate.ts'
import { example } from './options.ts'
import { noProgram, readStatus, writeControl } from './program-files.ts'
import { table } from './terminal.ts'
import { parseArchive, toArchive } from './program-archive.ts'

export function addProgram(program: Command): void {
  const group = program
    .command('program')
    .description('list, export, import or cancel attached programs')
    .addHelpText('after', example('$ insitu program list /mnt/logs'))

  group
    .command('list')
    .description('list the programs at and below PATH, or on all mounts')
    .argument('[path]', 'a directory on a mount')
    .option('--json', 'as JSON')
    .addHelpText('after', example('$ insitu program list /mnt/logs --json'))
    .action(list)

  group
    .command('export')
    .description('write the programs at and below PATH to an archive')
    .argument('<path>', 'a directory on a mount')
    .option('-o, --output <file>', 'instead of standard output')
    .addHelpText('after', example('$ insitu program export /mnt/logs > programs.json'))
    .action(exportPrograms)

  group
    .command('import')
    .description('attach the programs of an archive at and below PATH')
    .argument('<archive>', 'what export wrote; - is standard input')
    .argument('<path>', 'a directory on a mount')
    .addHelpText('after', example('$ insitu program import programs.json /mnt/logs'))
    .action(importPrograms)

  group
    .command('cancel')
    .description("end the run of the directory PATH's program")
    .argument('<path>', 'a directory with a program')
    .addHelpText('after', example('$ insitu program cancel /mnt/logs'))
    .action(cancel)
}

async function list(place: string | undefined, options: { readonly json?: true }): Promise<void> {
  const found = place === undefined ? await onAllMounts() : await programsBelow(await locate(place))
  if (options.json) {
    process.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`)
    return
  }
  if (found.length === 0) {
    process.stdout.write('no programs are attached\n')
    return
  }
  const rows = found.map((each) => [
    each.mountPoint,
    each.path === undefined ? '(gone)' : each.path || '.',
    each.state,
    String(each.principal.uid),
    formatSize(each.sizeBytes),
    each.program.slice(0, 12),
  ])
  process.stdout.write(table(['MOUNT POINT', 'DIRECTORY', 'STATE', 'UID', 'SIZE', 'PROGRAM'], rows))
}

type Listed = ProgramSummary & { readonly mountPoint: string }

async function onAllMounts(): Promise<Listed[]> {
  const found: Listed[] = []
  for (const mount of await runningMounts()) {
    const programs = await askJson<ProgramSummary[]>(mount.socket, 'GET', '/programs').catch(
      (error: Error) => {
        // Others' mounts are left out, with a word, so that one's own can still be listed.
        process.stderr.write(`insitu: ${mount.mountPoint} is left out: ${error.message}\n`)
        return []
      },
    )
    found.push(...programs.map((each) => ({ mountPoint: mount.mountPoint, ...each })))
  }
  return found
}

async function programsBelow({ mount, inVolume }: Located): Promise<Listed[]> {
  const programs = await askJson<ProgramSummary[]>(mount.socket, 'GET', '/programs')
  return programs
    .filter(({ path }) => path !== undefined && relativeTo(inVolume, path) !== undefined)
    .map((each) => ({ mountPoint: mount.mountPoint, ...each }))
}

/** `path` as seen from `base`, both relative to the volume; undefined: it is not at or below it. */
function relativeTo(base: string, path: string): string | undefined {
  if (base === '') return path
  if (path === base) return ''
  return path.startsWith(`${base}/`) ? path.slice(base.length + 1) : undefined
}

async function exportPrograms(place: string, options: { readonly output?: string }): Promise<void> {
  const located = await locate(place)
  const programs: ProgramImport[] = []
  for (const { directory, path, principal } of await programsBelow(located)) {
    const source = await ask(
      located.mount.socket,
      'GET',
      `/source?directory=${encodeURIComponent(directory)}`,
    )
    programs.push({
      path: relativeTo(located.inVolume, path ?? '') ?? '',
      source: source.toString('base64'),
      principal,
    })
  }
  const archive = toArchive(programs)
  if (options.output === undefined) process.stdout.write(archive)
  else {
    await writeArchive(options.output, archive)
  }
}

async function writeArchive(place: string, archive: string): Promise<void> {
  try {
    await using file = await open(place, 'w', 0o600) // programs may hold secrets
    await file.writeFile(archive)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new CliError(
      EXIT.failed,
      `${place} cannot be written (${code}): choose another --output`,
      {
        cause,
      },
    )
  }
}

async function importPrograms(archive: string, place: string): Promise<void> {
  const located = await locate(place)
  const programs = parseArchive(await readArchive(archive), archive)
  let broken = 0
  for (const program of programs) {
    const path = [located.inVolume, program.path].filter((part) => part !== '').join('/')
    const outcome = await attach(located, { ...program, path })
    if (outcome.status === 'broken') broken += 1
    process.stdout.write(`${path || '.'}: ${outcome.status}\n`)
  }
  if (broken > 0)
    throw new CliError(EXIT.program, `${broken} of ${programs.length} programs do not compile`)
}

async function attach(located: Located, program: ProgramImport): Promise<StageOutcome> {
  try {
    return await askJson<StageOutcome>(located.mount.socket, 'POST', '/programs', program)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CliError(EXIT.failed, `${program.path || '.'} was not attached: ${why}`, { cause })
  }
}

async function readArchive(archive: string): Promise<string> {
  try {
    return await readFile(archive === '-' ? '/dev/stdin' : archive, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new CliError(EXIT.failed, `the archive ${archive} cannot be read (${code})`, { cause })
  }
}

async function cancel(place: string): Promise<void> {
  const directory = await locateDirectory(place)
  if ((await readStatus(directory)) === undefined) throw noProgram(directory)
  await writeControl(directory, 'cancel')
}
