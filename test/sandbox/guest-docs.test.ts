/**
 * Runs what docs/guest-api.md shows. A block's info string says what it is: `file NAME` of the
 * directory, `program`, `library` (for the next program), and, of the program before it,
 * `result NAME`, `log` and `error`. All results of a program must be shown.
 */
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { makeFiles, runGuest } from '../support/guest.ts'

interface Example {
  readonly line: number
  readonly source: string
  readonly library: string | undefined
  readonly results: Record<string, string>
  log: string
  error: string | undefined
}

const page = readFileSync(new URL('../../docs/guest-api.md', import.meta.url), 'utf8')
const files: Record<string, string> = {}
const examples: Example[] = []
let library: string | undefined

for (const match of page.matchAll(/^```(\w+) ?(\w*) ?(\S*)\n(.*?)^```$/gms)) {
  const [, language = '', role = '', name = '', content = ''] = match
  const line = page.slice(0, match.index).split('\n').length
  const example = examples.at(-1)
  if (role === 'file') files[name] = content
  else if (role === 'library') library = content
  else if (role === 'program') {
    examples.push({ line, source: content, library, results: {}, log: '', error: undefined })
    library = undefined
  } else if (example === undefined) throw new Error(`line ${line}: a ${language} block of nothing`)
  else if (role === 'result') example.results[name] = content
  else if (role === 'log') example.log = content
  else if (role === 'error') example.error = content
  else throw new Error(`line ${line}: a ${language} block that says not what it is`)
}

const test = suite('guest: docs/guest-api.md')
const here = makeFiles(files)
test.after(() => here.remove())

for (const { line, source, library: attached, results, log, error } of examples) {
  test(`the program in line ${line}`, async () => {
    const options = attached === undefined ? here : { ...here, library: attached }
    const outcome = await runGuest(source, options)
    assert.is(outcome.error?.stack.trim(), error?.trim())
    assert.is(outcome.log, log)
    // A block always ends with a line end; a result need not.
    const shown = (texts: Readonly<Record<string, string>>): Record<string, string> =>
      Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, text.trimEnd()]))
    assert.equal(shown(outcome.results), shown(results))
  })
}

test('it has examples', () => assert.ok(examples.length >= 9))

test.run()
