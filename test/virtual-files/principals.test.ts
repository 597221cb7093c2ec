/** Whose program it is, what it may read, and who may read what it made. */
import { chmod, chown, writeFile } from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { mountedSuite } from '../support/mounted.ts'

const ALICE = { uid: 61001 }
const BOB = { uid: 61002 }
const CAROL = { uid: 61003, groups: [61003, 61050] }
const TEAM = 61050

mountedSuite('principals', (test, mounted) => {
  async function directory(
    name: string,
    owner: number,
    mode: number,
    group = owner,
  ): Promise<string> {
    const at = await mounted().directory(name)
    await chown(path.join(mounted().backing, name), owner, group)
    await chmod(path.join(mounted().backing, name), mode)
    return at
  }

  async function file(name: string, owner: number, mode: number, group = owner): Promise<void> {
    const at = path.join(mounted().backing, name)
    await writeFile(at, `${path.basename(name)}\n`)
    await chown(at, owner, group)
    await chmod(at, mode)
  }

  const show = (input: string): string =>
    `echo "emit('r', dir.file('${input}').text().trim())" > .compute`

  test('who may not write in the directory may not attach', async () => {
    const cwd = await directory('closed', ALICE.uid, 0o755)
    for (const way of [show('x'), 'cp /dev/null .compute', 'touch .compute']) {
      const { code, err } = await mounted().sh(way, { ...BOB, cwd })
      assert.is.not(code, 0)
      assert.match(err, /Permission denied/)
    }
    const { out, err } = await mounted().sh(`echo "emit('r', 'x')" > .compute && cat .results/r`, {
      ...ALICE,
      cwd,
    })
    assert.is(out + err, 'x')
    for (const way of [
      show('x'),
      'rm -f .compute',
      ': >> .compute',
      'truncate -s 1 .compute',
      'echo cancel > .results/.control',
    ]) {
      const { code, err: denied } = await mounted().sh(way, { ...BOB, cwd })
      assert.is.not(code, 0, way)
      assert.match(denied, /Permission denied|not permitted/, way)
    }
    assert.is((await mounted().sh('cat .results/r', { ...BOB, cwd })).out, 'x')
  })

  test('it reads what its principal may read, not what a reader of its results may', async () => {
    const cwd = await directory('rights', 0, 0o777)
    await file('rights/of-root', 0, 0o600)
    await file('rights/of-alice', ALICE.uid, 0o600)
    await mounted().sh(show('of-alice'), { ...ALICE, cwd })
    assert.is((await mounted().sh('cat .results/r', { ...ALICE, cwd })).out, 'of-alice')
    await mounted().sh(show('of-root'), { ...ALICE, cwd })
    const denied = await mounted().sh('cat .results/r; cat .results/.error', { cwd })
    assert.match(denied.err, /Input\/output error/)
    assert.match(denied.out, /EACCES|[Pp]ermission/)
  })

  test('the opener counts, whoever writes and closes', async () => {
    const cwd = await directory('opener', 0, 0o777)
    await file('opener/of-alice', ALICE.uid, 0o600)
    // Opened by alice, written and closed by bob, who inherits the descriptor.
    const { err } = await mounted().sh(
      `python3 - <<'EOF'
import os
os.setegid(${ALICE.uid}); os.seteuid(${ALICE.uid})
fd = os.open('.compute', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
os.seteuid(0); os.setegid(0)
os.setgroups([]); os.setresgid(${BOB.uid}, ${BOB.uid}, ${BOB.uid}); os.setresuid(${BOB.uid}, ${BOB.uid}, ${BOB.uid})
os.write(fd, b"emit('r', dir.file('of-alice').text().trim())")
os.close(fd)
EOF`,
      { cwd },
    )
    assert.is(err, '')
    const { out } = await mounted().sh(
      `cat .results/r; jq -c .principal .results/.status; stat -c ' %u' .results/r`,
      { cwd },
    )
    assert.is(out, `of-alice{"uid":${ALICE.uid},"gid":${ALICE.uid}}\n ${ALICE.uid}\n`)
  })

  test('supplementary groups count', async () => {
    const cwd = await directory('groups', 0, 0o777)
    await file('groups/of-team', 0, 0o640, TEAM)
    await mounted().sh(show('of-team'), { ...BOB, cwd })
    assert.match((await mounted().sh('cat .results/r', { cwd })).err, /Input\/output error/)
    await mounted().sh(show('of-team'), { ...CAROL, cwd })
    assert.is((await mounted().sh('cat .results/r', { ...CAROL, cwd })).out, 'of-team')
  })

  test('a rename counts as the renamer’s', async () => {
    const cwd = await directory('renamer', 0, 0o777)
    await file('renamer/of-alice', ALICE.uid, 0o600)
    const { out, err } = await mounted().sh(
      `echo "emit('r', dir.file('of-alice').text().trim())" > p; mv p .compute
       # A rename waits half a second at most for the compiler, and here may do so for its start.
       for try in $(seq 100); do [ -e .compute ] && break; sleep 0.1; done; cat .results/r`,
      { ...ALICE, cwd },
    )
    assert.is(out + err, 'of-alice')
  })

  test('a result is as secret as its inputs', async () => {
    const cwd = await directory('modes', 0, 0o777)
    await file('modes/open', ALICE.uid, 0o644)
    await file('modes/secret', ALICE.uid, 0o600)
    await file('modes/shared', ALICE.uid, 0o640, ALICE.uid)
    for (const [input, mode, others] of [
      ['open', '444', true],
      ['secret', '400', false],
      ['shared', '440', false],
    ] as const) {
      await mounted().sh(show(input), { ...ALICE, cwd })
      const { out, err } = await mounted().sh(
        `stat -c '%a %u' .results/r; cat .results/r .results/.log; ls .results`,
        { ...ALICE, cwd },
      )
      assert.is(out + err, `${mode} ${ALICE.uid}\n${input}r\n`)
      for (const at of [
        'cat .results/r',
        'cat .results/.log',
        'cat .results/.inputs',
        'ls .results',
      ]) {
        const bob = await mounted().sh(at, { ...BOB, cwd })
        assert.is(bob.code === 0, others, `${at} of ${input}: ${bob.err}`)
      }
    }
  })

  test('a directory that others cannot enter keeps results from them', async () => {
    const cwd = await directory('outer', ALICE.uid, 0o755)
    const { out } = await mounted().sh(
      `mkdir -m 700 inner; echo x > inner/in; chmod 644 inner/in; ${show('inner/in')}; stat -c %a .results/r`,
      { ...ALICE, cwd },
    )
    assert.is(out, '400\n')
  })

  test('what became secret is secret at the next look', async () => {
    const cwd = await directory('later', ALICE.uid, 0o755)
    const { out } = await mounted().sh(
      `echo x > in; chmod 644 in; ${show('in')}; stat -c %a .results/r; chmod 600 in; stat -c %a .results/r`,
      { ...ALICE, cwd },
    )
    assert.is(out, '444\n400\n')
  })

  test('in a sticky directory only owners and root replace or remove', async () => {
    const cwd = await directory('sticky', CAROL.uid, 0o1777)
    const attach = (word: string): string => `echo "emit('r', '${word}')" > .compute`
    assert.is(
      (await mounted().sh(`${attach('alice')} && cat .results/r`, { ...ALICE, cwd })).out,
      'alice',
    )
    for (const way of [
      attach('bob'),
      'rm -f .compute',
      `echo "emit('r', 'bob')" > p; mv -f p .compute`,
    ]) {
      const { code, err } = await mounted().sh(way, { ...BOB, cwd })
      assert.is.not(code, 0, way)
      assert.match(err, /not permitted|Permission denied/, way)
    }
    assert.is(
      (
        await mounted().sh(`cat .results/r; ${attach('again')} && cat .results/r`, {
          ...ALICE,
          cwd,
        })
      ).out,
      'aliceagain',
    )
    assert.is(
      (await mounted().sh(`${attach('owner')} && cat .results/r`, { ...CAROL, cwd })).out,
      'owner',
    )
    assert.is((await mounted().sh(`${attach('root')} && cat .results/r`, { cwd })).out, 'root')
    assert.is(
      (await mounted().sh('rm -f .compute && echo removed', { ...CAROL, cwd })).out,
      'removed\n',
    )
  })

  test('a right that was taken away stops the runs', async () => {
    const cwd = await directory('revoked', 0, 0o777)
    await file('revoked/in', 0, 0o644)
    assert.is((await mounted().sh(`${show('in')}; cat .results/r`, { ...ALICE, cwd })).out, 'in')
    await chmod(path.join(mounted().backing, 'revoked/in'), 0o600)
    const { err } = await mounted().sh('cat .results/r', { cwd })
    assert.match(err, /Input\/output error/)
  })

  test('links that leave are not followed', async () => {
    const cwd = await directory('links', ALICE.uid, 0o755)
    await file('outside', 0, 0o644)
    for (const target of ['../outside', '/etc/passwd', 'in/../../outside']) {
      const { out, err } = await mounted().sh(
        `ln -sfn ${target} in; ${show('in')}; cat .results/r || cat .results/.error`,
        { ...ALICE, cwd },
      )
      assert.match(err, /Input\/output error/, target)
      assert.not.match(out, /outside\n|root:/)
    }
  })
})
