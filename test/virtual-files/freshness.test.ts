/** A result is never older than the look at it, whichever way an input changed. */
import * as assert from 'uvu/assert'
import { mountedSuite } from '../support/mounted.ts'

interface Change {
  readonly name: string
  readonly before?: string
  readonly program: string
  /** Commands whose effect the next look has to show; the second line of output is of after. */
  readonly change: string
  readonly expected: readonly [string, string]
}

const TEXT = `emit('r', dir.file('in').text().trim())`
const NAMES = `emit('r', [...dir.files('*.log')].map((f) => f.name).join())`

const CHANGES: readonly Change[] = [
  { name: 'written in place', program: TEXT, change: 'echo two > in', expected: ['one', 'two'] },
  { name: 'appended', program: TEXT, change: 'printf +two >> in', expected: ['one', 'one\n+two'] },
  { name: 'truncated', program: TEXT, change: 'truncate -s 1 in', expected: ['one', 'o'] },
  {
    name: 'same size, times set back',
    program: TEXT,
    change: 'cp -p in ref; printf "two\\n" > in; touch -r ref in',
    expected: ['one', 'two'],
  },
  {
    name: 'replaced by rename',
    program: TEXT,
    change: 'echo two > new; mv new in',
    expected: ['one', 'two'],
  },
  {
    name: 'replaced by one with the same times and size',
    program: TEXT,
    change: 'echo two > new; touch -r in new; mv new in',
    expected: ['one', 'two'],
  },
  {
    name: 'removed',
    program: `let t = 'gone'; try { t = dir.file('in').text().trim() } catch {}; emit('r', t)`,
    change: 'rm in',
    expected: ['one', 'gone'],
  },
  {
    name: 'made where it was missed',
    before: 'rm in',
    program: `let t = 'none'; try { t = dir.file('in').text().trim() } catch {}; emit('r', t)`,
    change: 'echo here > in',
    expected: ['none', 'here'],
  },
  {
    name: 'made in a directory that was missed',
    program: `let t = 'none'; try { t = dir.file('sub/in').text().trim() } catch {}; emit('r', t)`,
    change: 'mkdir sub; echo here > sub/in',
    expected: ['none', 'here'],
  },
  {
    name: 'one more in a listing',
    before: ': > a.log',
    program: NAMES,
    change: ': > b.log',
    expected: ['a.log', 'a.log,b.log'],
  },
  {
    name: 'one less in a listing',
    before: ': > a.log; : > b.log',
    program: NAMES,
    change: 'rm a.log',
    expected: ['a.log,b.log', 'b.log'],
  },
  {
    name: 'renamed in a listing',
    before: ': > a.log',
    program: NAMES,
    change: 'mv a.log c.log',
    expected: ['a.log', 'c.log'],
  },
  {
    name: 'only its size was asked for',
    program: `emit('r', String(dir.file('in').size))`,
    change: 'echo longer > in',
    expected: ['4', '7'],
  },
  {
    name: 'only its time was asked for',
    program: `emit('r', String(dir.file('in').lastModified > 1e12))`,
    change: 'touch -d 1999-01-01 in',
    expected: ['true', 'false'],
  },
  {
    name: 'through a hard link',
    before: 'ln in hard',
    program: TEXT,
    change: 'echo two > hard',
    expected: ['one', 'two'],
  },
  {
    name: 'through a symbolic link',
    before: 'mv in real; ln -s real in',
    program: TEXT,
    change: 'echo two > real',
    expected: ['one', 'two'],
  },
  {
    name: 'a symbolic link that points elsewhere',
    before: 'mv in a; echo two > b; ln -s a in',
    program: TEXT,
    change: 'ln -sfn b in',
    expected: ['one', 'two'],
  },
  {
    name: 'a directory on the way replaced',
    before: 'mkdir d e; mv in d; echo two > e/in',
    program: `emit('r', dir.file('d/in').text().trim())`,
    change: 'mv d f; mv e d',
    expected: ['one', 'two'],
  },
  {
    name: 'a directory made again with its inode number',
    before: 'rm in; mkdir d; : > d/a',
    program: `emit('r', [...dir.dir('d').files()].map((f) => f.name).join())`,
    change: 'rm -r d; mkdir d; : > d/b',
    expected: ['a', 'b'],
  },
  {
    name: 'a hole punched',
    before: 'printf 12345678 > in',
    program: `emit('r', String(dir.file('in').bytes()[0]))`,
    change: 'fallocate -p -o 0 -l 1 in',
    expected: ['49', '0'],
  },
  {
    name: 'made unreadable',
    program: `let t = 'no'; try { t = dir.file('in').text().trim() } catch {}; emit('r', t)`,
    change: 'chown 0 in; chmod 0 in',
    expected: ['one', 'one'],
  },
]

mountedSuite('freshness', (test, mounted) => {
  let count = 0
  for (const { name, before = 'true', program, change, expected } of CHANGES) {
    for (const place of ['mount', 'backing'] as const) {
      test(`${name}, by way of the ${place}`, async () => {
        const directory = await mounted().directory(`f${(count += 1)}`)
        const elsewhere = place === 'mount' ? directory : directory.replace('/mnt/', '/backing/')
        const { out, err } = await mounted().sh(
          `echo one > in; ${before}
           cat > .compute <<'EOF'
${program}
EOF
           cat .results/r; echo; cat .results/r; echo; cd ${elsewhere}; { ${change}; }; cd ${directory}; cat .results/r; echo`,
          { cwd: directory },
        )
        assert.is(err, '')
        assert.equal(out, `${expected[0]}\n${expected[0]}\n${expected[1]}\n`)
      })
    }
  }

  test('nothing that was looked at changed: no run', async () => {
    const directory = await mounted().directory('unchanged')
    const { out } = await mounted().sh(
      `echo one > in; echo "${TEXT}" > .compute; cat .results/r; : > other; echo x >> other; mkdir d; stat in > /dev/null; cat in
       cat .results/r .results/r; jq .version .results/.status`,
      { cwd: directory },
    )
    assert.is(out, 'oneone\noneone1\n')
  })

  test('stat and listing are as fresh as open', async () => {
    const directory = await mounted().directory('looks')
    const { out } = await mounted().sh(
      `echo one > in; echo "const t = dir.file('in').text(); emit('r', t); emit('n' + t.length, '')" > .compute
       stat -c %s .results/r; ls .results; echo longer > in; stat -c %s .results/r; echo "longer still" > in; ls .results`,
      { cwd: directory },
    )
    assert.is(out, '4\nn4\nr\n7\nn13\nr\n')
  })

  test('each of many quick changes is seen', async () => {
    const directory = await mounted().directory('quick')
    const { out } = await mounted().sh(
      `echo 0 > in; echo "${TEXT}" > .compute
       for i in $(seq 1 60); do echo $((100 + i)) > in; [ "$(cat .results/r)" = $((100 + i)) ] || echo "stale at $i"; done`,
      { cwd: directory, timeoutMs: 120_000 },
    )
    assert.is(out, '')
  })

  test('stores into a mapped file are seen', async () => {
    const directory = await mounted().directory('mapped')
    const { out, err } = await mounted().sh(
      `head -c 8192 /dev/zero | tr '\\0' a > in; echo "emit('r', dir.file('in').text().slice(0, 4))" > .compute; cat .results/r
       python3 - <<'EOF'
import mmap
stale = 0
with open('in', 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:
    for i in range(20):
        m[0:4] = b'%04d' % i
        stale += open('.results/r').read() != '%04d' % i
print('', stale, 'stale')
EOF
       cat .results/r`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'aaaa 0 stale\n0019')
  })

  test('a live log answers, and each look has what was there before it', async () => {
    const directory = await mounted().directory('live')
    const { out, err } = await mounted().sh(
      `: > in; echo "let n = 0; for (const line of dir.file('in').lines()) n += 1; emit('r', String(n))" > .compute
       (for i in $(seq 300); do echo "line $i"; sleep 0.005; done) >> in &
       for i in $(seq 15); do least=$(wc -l < in); n=$(cat .results/r) || echo failed; [ "$n" -ge "$least" ] || echo "$n lines of $least"; sleep 0.03; done
       wait; cat .results/r`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, '300')
  })

  test('an input that never holds still is said to be so', async () => {
    const directory = await mounted().directory('restless')
    const { out, err } = await mounted().sh(
      `head -c 100 /dev/zero > in; echo "let n = 0; for (let i = 0; i < 2e8; i += 1) n = (n + i) | 0; dir.file('in').bytes(); for (let i = 0; i < 2e8; i += 1) n = (n + i) | 0; emit('r', 'x')" > .compute
       (while :; do printf x | dd of=in conv=notrunc status=none; done) & writer=$!
       cat .results/r; kill $writer; wait 2> /dev/null; cat .results/.error; cat .results/r`,
      { cwd: directory },
    )
    assert.match(err, /^cat: .*Resource temporarily unavailable/)
    assert.match(out, /in.*\nx$|in[^]*x$/)
  })
})
