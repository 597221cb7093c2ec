/** What the pages say of the configuration is what the schema says. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseConfiguration } from '../../src/config/file.ts'
import { configurationReference } from '../../src/config/reference.ts'

const test = suite('configuration pages')
const page = (name: string): Promise<string> =>
  readFile(new URL(`../../${name}`, import.meta.url), 'utf8')

test('the reference in docs/operations.md is the schema’s', async () => {
  const [, told = ''] = /<!-- reference[^>]*-->\n([^]*)<!-- end of reference -->/.exec(
    await page('docs/operations.md'),
  ) ?? ['', '']
  // Columns are aligned there.
  const plain = (text: string): string =>
    text.replace(/ +/g, ' ').replace(/-+/g, '-').replaceAll('| - ', '|-').trim()
  const cells = (text: string): string[][] =>
    plain(text)
      .split('\n')
      .filter((line) => !/^\|[-| ]+\|$/.test(line))
      .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
  assert.equal(cells(told), cells(configurationReference()))
})

test('the example is without a mistake', async () => {
  const { configuration, mistakes } = parseConfiguration(await page('examples/insitu.yaml'))
  assert.equal(mistakes, undefined)
  assert.is(configuration?.tenants.length, 2)
  assert.is(configuration?.policies.length, 2)
})

test('systemd has nothing to say against the unit', async () => {
  const unit = fileURLToPath(new URL('../../examples/systemd/insitu.service', import.meta.url))
  const said = await new Promise<string>((resolve) => {
    execFile('systemd-analyze', ['verify', unit], (error, _, stderr) =>
      resolve(error?.code === 'ENOENT' ? 'none' : stderr),
    )
  })
  if (said === 'none') console.log('SKIP the unit: there is no systemd-analyze')
  else assert.is(said, '')
})

test.run()
