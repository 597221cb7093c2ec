/** Programs in grafts: attached, fresh, and apart from all other trees. */
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { type GraftMount, graftSuite } from '../support/graft-mount.ts'
import { startShell, type Output } from '../support/mounted.ts'

const suite = graftSuite('grafts: programs')

function test(name: string, body: (mount: GraftMount) => Promise<void>): void {
  suite(name, body, { compute: true })
}

/** What the sum of the numbers in the directory's files is. */
const SUM = `export default (dir) => {
  let sum = 0
  for (const file of dir.files('*.txt')) sum += Number(file.text())
  emit('sum', String(sum))
}`

async function sh(cwd: string, script: string, uid?: number): Promise<Output> {
  return startShell(script, { cwd, ...(uid !== undefined && { uid }) }).output
}

async function attach(at: string, source = SUM): Promise<void> {
  await fs.writeFile(path.join(at, '.compute'), source)
}

test('a program in a writable one answers, and answers anew', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'a.txt'), '1')
  await mount.graft({ name: 'data', backing: tree, compute: true, revocable: true })
  const at = path.join(mount.mountPoint, 'data')
  await attach(at)
  assert.is(await fs.readFile(path.join(at, '.results', 'sum'), 'utf8'), '1')
  await fs.writeFile(path.join(at, 'b.txt'), '2')
  assert.is(await fs.readFile(path.join(at, '.results', 'sum'), 'utf8'), '3')
  const { out } = await sh(
    at,
    'exec 3<>.query; echo "export default (dir) => dir.files().length" >&3; cat <&3',
  )
  assert.is(out.trim(), '2')
  assert.equal((await fs.readdir(tree)).toSorted(), ['a.txt', 'b.txt'])
  assert.equal(
    (await mount.programs()).map((program) => program.path),
    ['data'],
  )
})

suite.run()
