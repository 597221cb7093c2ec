/** Results as files: sizes, seeking, versions, whole sets, the last good one, what is told of them. */
import * as assert from 'uvu/assert'
import { mountedSuite } from '../support/mounted.ts'

mountedSuite('results', (test, mounted) => {
  test('are files with exact sizes that seek, map and copy', async () => {
    const directory = await mounted().directory('files')
    const { out, err } = await mounted().sh(
      `cat > .compute <<'EOF'
emit('big', new Uint8Array(3_000_000).map((_, i) => i * 7))
emit('text', 'äöü')
emit('json', { a: [1] })
emit('none', '')
EOF
       ls .results; stat -c '%n %s %F' .results/*; cat .results/text; jq -c . .results/json
       cp .results/big copy; cmp copy .results/big && dd if=.results/big bs=1 skip=2999999 status=none | od -An -tu1 | tr -d ' '
       python3 -c "
import mmap
with open('.results/big') as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m: print(len(m), m[1000])"
       tail -c 3 .results/big | cmp - <(tail -c 3 copy) && tar -cf - -C .results . | tar -tf - | sort`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(
      out,
      'big\njson\nnone\ntext\n' +
        '.results/big 3000000 regular file\n.results/json 23 regular file\n' +
        '.results/none 0 regular empty file\n.results/text 6 regular file\n' +
        `äöü{"a":[1]}\n${(2_999_999 * 7) % 256}\n3000000 ${(1000 * 7) % 256}\n` +
        out.slice(out.indexOf('./\n')),
    )
    for (const name of ['./big', './json', './none', './text', './.status', './.inputs'])
      assert.ok(out.includes(`${name}\n`), name)
    assert.not.ok(out.includes('.control'))
  })

  test('the return value is the file result', async () => {
    const directory = await mounted().directory('return')
    const { out } = await mounted().sh(
      `echo "export default (dir) => 'of ' + [...dir.files('*.log')].length" > .compute; cat .results/result; : > a.log; cat .results/result`,
      { cwd: directory },
    )
    assert.is(out, 'of 0of 1')
  })

  test('cannot be changed', async () => {
    const directory = await mounted().directory('readonly')
    const { out, err } = await mounted().sh(
      `echo "emit('r', 'x')" > .compute; cat .results/r
       for c in 'tee .results/r' 'truncate -s 0 .results/r' 'chmod 777 .results/r' 'touch .results/r' 'setfattr -n user.insitu.etag -v x .results/r'
       do echo y | $c > /dev/null 2>&1 && echo "$c succeeded"; done; cat .results/r`,
      { cwd: directory },
    )
    assert.is(out + err, 'xx')
  })

  test('an open file keeps its bytes and its attributes', async () => {
    const directory = await mounted().directory('versions')
    const { out, err } = await mounted().sh(
      `echo one > in; echo "emit('r', dir.file('in').text())" > .compute
       exec 3< .results/r; before=$(stat -L -c '%s %i %Y' /dev/fd/3)
       echo "two, which is longer" > in; cat .results/r; echo "three" > in; cat .results/r
       test "$before" = "$(stat -L -c '%s %i %Y' /dev/fd/3)" && cat <&3
       exec 4< .results/r; rm .compute; cat <&4`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'two, which is longer\nthree\none\nthree\n')
  })

  test('a set is replaced as a whole', async () => {
    const directory = await mounted().directory('whole')
    // Names that belong together: a listing with one of each kind of another number is a torn set.
    const reader = `for i in $(seq 40); do
        set -- $(ls .results); [ "\${1#a-}" = "\${2#b-}" ] && [ $# = 2 ] || echo "torn: $*"
      done`
    const { out, err } = await mounted().sh(
      `echo 0 > n
       echo "const n = dir.file('n').text().trim(); emit('a-' + n, n); emit('b-' + n, n)" > .compute; ls .results > /dev/null
       (for i in $(seq 30); do echo $i > ../whole-n; mv ../whole-n n; sleep 0.01; done) &
       (${reader}) & (${reader}) & wait; ls .results | tr '\\n' ' '`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'a-30 b-30 ')
  })

  test('the last good set stays under .last', async () => {
    const directory = await mounted().directory('last')
    const { out, err } = await mounted().sh(
      `echo 1 > in
       echo "const n = JSON.parse(dir.file('in').text()); emit('r', 'good ' + n)" > .compute; cat .results/r
       echo '{' > in; cat .results/r; echo; ls .results/.last; cat .results/.last/r; jq -r .state .results/.status
       echo 2 > in; cat .results/r; cat .results/.last/r; wc -c < .results/.error`,
      { cwd: directory },
    )
    assert.match(err, /^cat: \.results\/r: Input\/output error\n$/)
    assert.is(out, 'good 1\nr\ngood 1failed\ngood 2good 20\n')
  })

  test('.inputs names what was looked at', async () => {
    const directory = await mounted().directory('inputs')
    const { out } = await mounted().sh(
      `mkdir sub; echo a > a.log; echo b > b.txt; echo c > sub/c.log
       cat > .compute <<'EOF'
for (const file of dir.files('*.log')) file.text()
dir.file('sub/c.log').text()
try { dir.file('none').text() } catch {}
emit('r', 'x')
EOF
       cat .results/r; cat .results/.inputs`,
      { cwd: directory },
    )
    for (const input of ['a.log\tcontent', 'sub/c.log\tcontent', 'none\tabsence', '.\tlisting'])
      assert.ok(out.includes(input), out)
    assert.not.ok(out.includes('b.txt'))
  })

  test('extended attributes tell where a result comes from', async () => {
    const directory = await mounted().directory('xattrs')
    const { out, err } = await mounted().sh(
      `echo 1 > in; echo "dir.file('in').text(); emit('r', 'x'); emit('s', 'y')" > .compute
       x() { getfattr --only-values -n user.insitu.$1 .results/$2; }
       getfattr -m - .results/r | grep insitu
       [ "$(x program r)" = "$(sha256sum < .compute | cut -d' ' -f1)" ] && echo program
       [ "$(x etag r)" != "$(x etag s)" ] && echo etags; a=$(x etag r)
       echo 2 > in; [ "$a" = "$(x etag r)" ] && echo kept
       [ "$(x cpu_ms r)" -ge 0 ] && x runtime r`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.match(
      out,
      /^user\.insitu\.cpu_ms\nuser\.insitu\.etag\nuser\.insitu\.inputs\nuser\.insitu\.program\nuser\.insitu\.runtime\nprogram\netags\nkept\n.*insitu/,
    )
  })

  test('the log shows what the program says, of this run only', async () => {
    const directory = await mounted().directory('log')
    const { out } = await mounted().sh(
      `echo 1 > in; echo "console.log('in is', dir.file('in').text().trim()); emit('r', '')" > .compute
       cat .results/r .results/.log; echo 2 > in; cat .results/r .results/.log; stat -c %s .results/.log`,
      { cwd: directory },
    )
    assert.is(out, 'in is 1\nin is 2\n8\n')
  })

  test('a program in TypeScript', async () => {
    const directory = await mounted().directory('typescript')
    const { out, err } = await mounted().sh(
      `cat > .compute <<'EOF'
export default function (dir: Directory): string {
  const n: number = [...dir.files()].length
  return \`\${n satisfies number} files\`
}
EOF
       cat .results/result`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, '0 files')
  })
})
