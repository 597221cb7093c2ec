/** Runs the transcripts of docs/files.md, in order, in one shell; a line's `...` stands for anything. */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { mountObstacle, startShell } from '../support/mounted.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = await readFile(path.join(root, 'docs/files.md'), 'utf8')

interface Example {
  readonly line: number
  readonly command: string
  readonly expected: string
}

function examplesOf(markdown: string): Example[] {
  const examples: { line: number; command: string; expected: string }[] = []
  let inBlock = false
  for (const [index, text] of markdown.split('\n').entries()) {
    if (text.startsWith('```')) inBlock = text === '```console'
    else if (!inBlock) continue
    else if (text.startsWith('$ '))
      examples.push({ line: index + 1, command: text.slice(2), expected: '' })
    else {
      const last = examples.at(-1)
      if (last === undefined) throw new Error(`line ${index + 1}: output before any command`)
      if (text.startsWith('> ') && last.expected === '') last.command += `\n${text.slice(2)}`
      else last.expected += `${text}\n`
    }
  }
  return examples
}

function matches(expected: string, actual: string): boolean {
  const pattern = expected
    .split('...')
    .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
    .join('[^]*')
  return new RegExp(`^${pattern}$`).test(actual)
}

const test = suite('docs/files.md')
const obstacle = mountObstacle()
const examples = examplesOf(page)

test('every shell example is in a transcript', () => {
  assert.ok(examples.length > 20)
  assert.equal(
    [...page.matchAll(/^```(\w+)/gm)]
      .map((match) => match[1])
      .filter((language) => language !== 'console'),
    [],
  )
})

if (obstacle === undefined)
  test('the transcripts are true', async () => {
    const base = await mkdtemp(path.join(tmpdir(), 'insitu-docs-'))
    const mountPoint = path.join(base, 'mnt/logs')
    await mkdir(path.join(base, 'logs'))
    await mkdir(mountPoint, { recursive: true })
    const marker = 'end-of-example'
    const script = examples
      .map(({ command }) => `${command.replaceAll('/mnt/logs', mountPoint)}\necho "${marker}"`)
      .join('\n')
    try {
      const output = await transcript(base, script)
      const actual = output.split(`${marker}\n`)
      for (const [index, { line, command, expected }] of examples.entries()) {
        const shown = actual[index] ?? '(the shell ended)'
        if (!matches(expected, shown))
          assert.is(shown, expected, `docs/files.md:${line}: ${command}`)
      }
    } finally {
      await startShell(`mountpoint -q ${mountPoint} && umount -l ${mountPoint}`, { cwd: '/' })
        .output
      await rm(base, { recursive: true, force: true })
    }
  })
else console.log(`SKIP docs/files.md: ${obstacle}`)

/** What a terminal would show, output and errors in their order. */
function transcript(home: string, script: string): Promise<string> {
  const child = spawn('bash', ['-c', `exec 2>&1\n${script}\n`], {
    cwd: home,
    env: {
      ...process.env,
      HOME: home,
      LC_ALL: 'C',
      PATH: `${path.join(root, 'bin')}:${process.env['PATH']}`,
      INSITU_RUNTIME_DIR: path.join(home, 'run'),
    },
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 120_000,
    killSignal: 'SIGKILL',
  })
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => resolve(output))
  })
}

test.run()
