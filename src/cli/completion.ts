/**
 * `insitu completion SHELL`: a short script for each shell, which asks us at each Tab. What there is to
 * say comes from the commands themselves, and names from the daemon.
 */
import { Argument, type Command, type Option } from 'commander'
import { adminClient, tenantClient } from './broker-client.ts'
import { example } from './options.ts'

/** The shell's own completion of paths. */
const FILES = ':files'
/** A daemon that does not answer must not hold up a Tab. */
const PATIENCE_MS = 500
const MAX_NAMES = 1_000

/** The hidden command that the scripts call. */
const ASK = '__complete'

/** What they name is not there yet. */
const NEW = new Set(['add', 'create'])

interface Candidate {
  readonly word: string
  readonly text: string
}

const SCRIPTS = {
  bash: `_insitu() {
  local word
  COMPREPLY=()
  while IFS=$'\\t' read -r word _; do
    if [[ $word == ${FILES} ]]; then compopt -o default 2>/dev/null; else COMPREPLY+=("$word"); fi
  done < <(insitu ${ASK} -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _insitu insitu
`,
  zsh: `#compdef insitu
_insitu() {
  local -a found
  local word text
  while IFS=$'\\t' read -r word text; do
    if [[ $word == ${FILES} ]]; then _files; else found+=("\${word//:/\\\\:}:$text"); fi
  done < <(insitu ${ASK} -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( $#found )) && _describe insitu found
}
compdef _insitu insitu
`,
  fish: `function __insitu_complete
  set -l words (commandline -opc) (commandline -ct)
  for line in (insitu ${ASK} -- $words[2..] 2>/dev/null)
    if test "$line" = ${FILES}
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c insitu -f -a '(__insitu_complete)'
`,
} as const

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands, options and names in a shell')
    .addArgument(new Argument('<shell>').choices(Object.keys(SCRIPTS)))
    .addHelpText('after', example('$ source <(insitu completion bash)'))
    .action((shell: keyof typeof SCRIPTS) => void process.stdout.write(SCRIPTS[shell]))
  program
    .command(ASK, { hidden: true })
    .argument('[words...]')
    .action(async (words: readonly string[]) => {
      const found = await candidates(program, words)
      const lines = found.map(({ word, text }) => (text === '' ? word : `${word}\t${text}`))
      process.stdout.write(lines.map((line) => `${line}\n`).join(''))
    })
}

/** The last of the words is the one that is being written. */
async function candidates(program: Command, words: readonly string[]): Promise<Candidate[]> {
  // Bash cuts --option=value into three.
  const before = words.slice(0, -1).filter((word) => word !== '=')
  const last = words.at(-1) ?? ''
  const current = last === '=' ? '' : last
  const { command, position, option } = walk(program, before)
  const all =
    option === undefined
      ? await fitting(command, position, current)
      : await valuesOf(option.argChoices, option.long ?? '')
  return all.filter(({ word }) => word === FILES || word.startsWith(current))
}

interface Standing {
  readonly command: Command
  /** Arguments that it has already. */
  readonly position: number
  /** What waits for its value. */
  readonly option: Option | undefined
}

function walk(program: Command, words: readonly string[]): Standing {
  let [command, position] = [program, 0]
  let option: Option | undefined
  for (const word of words) {
    if (option !== undefined) option = undefined
    else if (word.startsWith('-'))
      option = command.options.find(
        (each) => (each.long === word || each.short === word) && (each.required || each.optional),
      )
    else {
      const next: Command | undefined = command.commands.find((each) => each.name() === word)
      if (next === undefined) position += 1
      else [command, position] = [next, 0]
    }
  }
  return { command, position, option }
}

async function fitting(command: Command, position: number, current: string): Promise<Candidate[]> {
  const help = command.createHelp()
  if (current.startsWith('-'))
    return help.visibleOptions(command).map(({ long, short, description }) => {
      return { word: long ?? short ?? '', text: firstLine(description) }
    })
  const all = command.registeredArguments
  const argument = all[position] ?? (all.at(-1)?.variadic === true ? all.at(-1) : undefined)
  if (argument !== undefined) {
    if (NEW.has(command.name())) return []
    const what = argument.name() === 'name' ? (command.parent?.name() ?? '') : argument.name()
    return await valuesOf(argument.argChoices, what)
  }
  return help
    .visibleCommands(command)
    .map((each) => ({ word: each.name(), text: firstLine(each.description()) }))
}

async function valuesOf(
  choices: readonly string[] | undefined,
  what: string,
): Promise<Candidate[]> {
  if (choices !== undefined) return choices.map((word) => ({ word, text: '' }))
  const names = NAMES[what.replace(/^--/, '')]
  if (names === undefined) return [{ word: FILES, text: '' }]
  const late = new Promise<Candidate[]>((resolve) => {
    setTimeout(() => resolve([]), PATIENCE_MS).unref()
  })
  return (await Promise.race([names().catch(() => []), late])).slice(0, MAX_NAMES)
}

/** By the name of an argument or an option. */
const NAMES: Readonly<Record<string, () => Promise<Candidate[]>>> = {
  tenant: async () => {
    const { tenants } = await adminClient().json<{ tenants: { name: string; state: string }[] }>(
      '/tenants',
    )
    return tenants.map(({ name, state }) => ({ word: name, text: state }))
  },
  volume: async () => {
    const admin = adminClient().json<{ volumes: { name: string; class: { name: string } }[] }>(
      '/volumes',
    )
    const volumes = await admin.then(
      (answer) => answer.volumes,
      async () => await (await tenantClient(undefined)).volumes(),
    )
    return volumes.map(({ name, class: { name: level } }) => ({ word: name, text: level }))
  },
  id: async () =>
    (await grants()).map(({ id, volume, at }) => ({ word: id, text: `${volume} at ${at}` })),
  at: async () => (await grants()).map(({ at, volume }) => ({ word: at, text: volume })),
}

async function grants(): Promise<readonly { id: string; volume: string; at: string }[]> {
  return await adminClient()
    .json<{ grants: { id: string; volume: string; at: string }[] }>('/grants')
    .then(
      (answer) => answer.grants,
      async () => await (await tenantClient(undefined)).grants(),
    )
}

/** A tab or a line end would be another word to the shell. */
function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.replaceAll('\t', ' ') ?? ''
}
