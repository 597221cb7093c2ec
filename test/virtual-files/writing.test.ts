/** Every usual way to write a file attaches a program, from nothing and in place of an old one. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { mountedSuite, until } from '../support/mounted.ts'

const OLD = `emit('r', 'the program that was there before, which is longer than the new one')\n`
const NEW = `const word = 'new'\nemit('r', word)\n`

/** Run in the program's directory; $P is a file on another file system that holds the program. */
const WRITERS: Record<string, string> = {
  'cat >': 'cat "$P" > .compute',
  'printf >': `printf '%s\\n' "const word = 'new'" "emit('r', word)" > .compute`,
  'here document': `cat > .compute <<'EOF'\n${NEW}EOF`,
  'subshell >': `(echo "const word = 'new'"; echo "emit('r', word)") > .compute`,
  'two processes >': '(head -n 1 "$P"; tail -n +2 "$P") > .compute',
  tee: 'tee .compute < "$P" > /dev/null',
  dd: 'dd if="$P" of=.compute bs=8 status=none',
  'dd with fsync': 'dd if="$P" of=.compute bs=1k conv=fsync status=none',
  cp: 'cp "$P" .compute',
  'cp -p': 'cp -p "$P" .compute',
  'cp --remove-destination': 'cp --remove-destination "$P" .compute',
  install: 'install -m 644 "$P" .compute',
  'mv from another file system':
    'cp "$P" "$P.moved" && mv "$P.moved" .compute && ! test -e "$P.moved"',
  'mv in the same one': 'cp "$P" prog.js && mv prog.js .compute && ! test -e prog.js',
  rsync: 'rsync "$P" .compute',
  'rsync --inplace': 'rsync --inplace --whole-file "$P" .compute',
  'python w': "python3 -c \"import os; open('.compute', 'w').write(open(os.environ['P']).read())\"",
  'python w+': `python3 -c "
import os
with open('.compute', 'w+') as f:
    f.write(open(os.environ['P']).read())
    f.seek(0)
    assert f.read() == open(os.environ['P']).read()"`,
  'open for reading and writing': `python3 -c "
import os
fd = os.open('.compute', os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
os.write(fd, open(os.environ['P'], 'rb').read())
os.close(fd)"`,
  'written out of order': `python3 -c "
import os
text = open(os.environ['P'], 'rb').read()
fd = os.open('.compute', os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
os.pwrite(fd, text[10:], 10)
os.pwrite(fd, text[:10], 0)
os.close(fd)"`,
  'replaced in the way of editors': 'cp "$P" .new~ && sync .new~ && mv -f .new~ .compute',
  vim: 'vim -u NONE -N -n -es -c "0read $P" -c "write! .compute" -c "qall!" < /dev/null',
}

mountedSuite('writing programs', (test, mounted) => {
  let count = 0
  for (const [name, script] of Object.entries(WRITERS)) {
    for (const before of [undefined, OLD]) {
      test(`${name}, ${before === undefined ? 'first' : 'in place of another'}`, async () => {
        const directory = await mounted().directory(`w${(count += 1)}`)
        const program = path.join(mounted().base, `program-${count}.js`)
        await writeFile(program, NEW)
        await writeFile(`${program}.old`, OLD)
        const attach =
          before === undefined ? '' : `cp "$P.old" .compute; cat .results/r > /dev/null`
        const { code, out, err } = await mounted().sh(
          `export P=${program}; ${attach}
           ${script}
           [ $? = 0 ] || exit 1
           cat .results/r && cmp "$P" .compute`,
          { cwd: directory },
        )
        assert.is(err, '')
        assert.is(out, 'new')
        assert.is(code, 0)
      })
    }
  }

  test('>> appends to the program', async () => {
    const directory = await mounted().directory('append')
    const { out, err } = await mounted().sh(
      `echo "let n = 'one'" >> .compute
       echo "emit('r', n + ' two')" >> .compute
       cat .results/r
       printf 'emit("s", n)' >> .compute
       cat .results/s; wc -c < .compute; stat -c %s .compute`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'one twoone48\n48\n')
  })

  test('sed -i edits it, and an editor that saves in place', async () => {
    const directory = await mounted().directory('edit')
    const { out, err } = await mounted().sh(
      `echo "emit('r', 'one')" > .compute; cat .results/r
       sed -i s/one/two/ .compute; cat .results/r
       vim -u NONE -N -n -es -c 'set backupcopy=yes' -c '%s/two/three/' -c wq .compute < /dev/null; cat .results/r
       vim -u NONE -N -n -es -c 'set backupcopy=no' -c '%s/three/four/' -c wq .compute < /dev/null; cat .results/r
       ls -A`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'onetwothreefour')
  })

  test('the same bytes again are no new run', async () => {
    const directory = await mounted().directory('same')
    const { out } = await mounted().sh(
      `echo "emit('r', 'x')" > .compute; cat .results/r > /dev/null; jq .startedAt,.version .results/.status > before
       echo "emit('r', 'x')" > .compute; cat .results/r; cp .compute copy; cp copy .compute; cat .results/r
       jq .startedAt,.version .results/.status | cmp - before && echo same`,
      { cwd: directory },
    )
    assert.is(out, 'xxsame\n')
  })

  for (const [name, script] of Object.entries({
    rm: 'rm .compute',
    'an empty file': ': > .compute',
    'cp /dev/null': 'cp /dev/null .compute',
    'truncate -s 0': 'truncate -s 0 .compute',
    'truncate(2)': `python3 -c "import os; os.truncate('.compute', 0)"`,
    'mv of an empty file': ': > empty; mv empty .compute',
  })) {
    test(`${name} detaches`, async () => {
      const directory = await mounted().directory(`detach-${name.replace(/\W/g, '')}`)
      const { err } = await mounted().sh(
        `echo "emit('r', 'x')" > .compute; cat .results/r > /dev/null; ${script}`,
        { cwd: directory },
      )
      assert.is(err, '')
      await until('the program is gone', async () => {
        const { code } = await mounted().sh('test -e .compute || test -e .results', {
          cwd: directory,
        })
        return code !== 0
      })
    })
  }

  test('rename onto it leaves no trace of the source', async () => {
    const directory = await mounted().directory('dentry')
    const { out, err } = await mounted().sh(
      `echo "emit('r', 'one')" > a; echo "emit('r', 'two')" > b; ino=$(stat -c %i a)
       mv a .compute; cat .results/r; mv b .compute; cat .results/r
       cat .compute; ls -A; test "$(stat -c %i .compute)" != "$ino" && echo other
       echo "emit('r', 'three')" > .compute; cat .results/r; cat .compute`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, `onetwoemit('r', 'two')\nother\nthreeemit('r', 'three')\n`)
  })

  test('mv takes a program elsewhere, and detaches it here', async () => {
    const directory = await mounted().directory('away')
    const { out, err } = await mounted().sh(
      `mkdir there; echo "emit('r', 'one')" > .compute; cat .results/r
       mv .compute there/kept.js; test -e .compute || test -e .results || echo gone; cat there/kept.js
       mv there/kept.js there/.compute; cat there/.results/r; ls -A . there`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, `onegone\nemit('r', 'one')\none.:\nthere\n\nthere:\n`)
  })

  test('chmod, chown and touch are accepted and change nothing', async () => {
    const directory = await mounted().directory('attributes')
    const { code, err } = await mounted().sh(
      `echo "emit('r', 'one')" > .compute
       chmod 600 .compute && chown 1001:1001 .compute && touch .compute && cp -p .compute copy`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(code, 0)
  })

  test('what has no meaning on it is refused', async () => {
    const directory = await mounted().directory('refused')
    const { out } = await mounted().sh(
      `echo "emit('r', 'one')" > .compute; cat .results/r > /dev/null; : > file
       for c in 'ln .compute hard' 'ln file .query' 'mkdir .results' 'ln -s file .compute' \\
         'touch .results/new' 'rm .results/r' 'mv .results/r file' 'rmdir .results' 'mkdir .results/d' \\
         'mv .results other' 'mv file .results' 'setfattr -n user.x -v y .compute'
       do $c 2> /dev/null && echo "$c succeeded"; done
       cat .results/r; ls -A`,
      { cwd: directory },
    )
    assert.is(out, 'onefile\n')
  })
})
