/** Every frame sequence of the corpus, without a sanitizer; `scripts/fuzz` makes more, with. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

const here = fileURLToPath(new URL('.', import.meta.url))
const test = suite('the fuzzing corpus')

test('is answered frame by frame', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'insitu-replay-'))
  try {
    // The user that it runs as makes its scratch folder there.
    chmodSync(folder, 0o1777)
    const program = path.join(folder, 'replay')
    execFileSync(path.join(here, 'replay.sh'), [program], { stdio: 'inherit' })
    const inputs = readdirSync(path.join(here, 'corpus')).map((name) =>
      path.join(here, 'corpus', name),
    )
    assert.ok(inputs.length > 20)
    const nobody = ['--reuid', '65534', '--regid', '65534', '--clear-groups', '--inh-caps', '-all']
    const command = [...(process.getuid?.() === 0 ? ['setpriv', ...nobody] : []), program]
    const [file = '', ...args] = command
    const output = execFileSync(file, [...args, ...inputs], {
      encoding: 'utf8',
      env: { ...process.env, TMPDIR: folder },
      timeout: 60_000,
    })
    assert.match(output, `replayed ${inputs.length} inputs`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test.run()
