/** What one user's program saw stays with those who could see it themselves. */
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { mountedSuite } from '../support/mounted.ts'

const ALICE = { uid: 61001 }
const BOB = { uid: 61002 }
const CONTROLS = ['.log', '.error', '.inputs', '.status']

mountedSuite('secrets', (test, mounted) => {
  async function file(name: string, owner: number, mode: number): Promise<void> {
    const at = path.join(mounted().backing, name)
    await mkdir(path.dirname(at), { recursive: true })
    await writeFile(at, `content of ${path.basename(name)}\n`)
    await chown(at, owner, owner)
    await chmod(at, mode)
  }

  /** Reads what is named in `which`, and says it; fails after a secret. */
  const PROGRAM = `cat > .compute <<'EOF'
    const name = dir.file('which').text().trim()
    const text = dir.file(name).text()
    console.log(text)
    if (name === 'secret') throw new Error(text)
    emit('r', text)
EOF
`

  test('a failed run tells its secrets to its owner only', async () => {
    await file('failed/open', ALICE.uid, 0o644)
    await file('failed/secret', ALICE.uid, 0o600)
    await chmod(path.join(mounted().backing, 'failed'), 0o777)
    const cwd = path.join(mounted().mountPoint, 'failed')
    const alice = { ...ALICE, cwd }
    const bob = { ...BOB, cwd }
    await mounted().sh(`echo open > which; ${PROGRAM}cat .results/r`, alice)
    for (const name of CONTROLS)
      assert.is((await mounted().sh(`cat .results/${name}`, bob)).code, 0, name)
    await mounted().sh('echo secret > which; cat .results/r', alice)
    for (const name of CONTROLS) {
      const { out, err } = await mounted().sh(`cat .results/${name}`, bob)
      assert.is(out, '', name)
      assert.match(err, /Permission denied/, name)
    }
    const own = await mounted().sh('cat .results/.log .results/.error', alice)
    assert.match(own.out, /content of secret[^]*content of secret/)
    // What was open is shown again.
    await mounted().sh('echo open > which; cat .results/r', alice)
    assert.match((await mounted().sh('cat .results/.log', bob)).out, /content of open/)
  })

  test('a descriptor that others opened before shows nothing of the next run', async () => {
    await file('held/open', ALICE.uid, 0o644)
    await file('held/secret', ALICE.uid, 0o600)
    await chmod(path.join(mounted().backing, 'held'), 0o777)
    const cwd = path.join(mounted().mountPoint, 'held')
    await mounted().sh(`echo open > which; ${PROGRAM}cat .results/r`, { ...ALICE, cwd })
    const bob = mounted().background(
      'exec 3< .results/.log; touch ready; sleep 0.1; until [ -e go ]; do sleep 0.05; done; cat <&3',
      { ...BOB, cwd },
    )
    await mounted().sh('until [ -e ready ]; do sleep 0.05; done', { cwd })
    await mounted().sh('echo secret > which; cat .results/r; touch go', { ...ALICE, cwd })
    assert.not.match((await bob.output).out, /secret/)
  })

  test('a directory with an ACL shows its program to its readers only', async () => {
    await file('acl/in', ALICE.uid, 0o600)
    const backing = path.join(mounted().backing, 'acl')
    await chown(backing, ALICE.uid, ALICE.uid)
    await chmod(backing, 0o711)
    const acl = await mounted().sh(`setfacl -m u:61003:rwx '${backing}'`)
    assert.is(acl.code, 0, acl.err)
    const cwd = path.join(mounted().mountPoint, 'acl')
    await mounted().sh(`echo "emit('r', 'the program')" > .compute`, { ...ALICE, cwd })
    const { out, err } = await mounted().sh('cat .compute', { ...BOB, cwd })
    assert.is(out, '')
    assert.match(err, /Permission denied/)
    for (const reader of [ALICE, { uid: 61003 }, { uid: 0 }])
      assert.match((await mounted().sh('cat .compute', { ...reader, cwd })).out, /the program/)
  })
})
