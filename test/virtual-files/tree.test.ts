/** The tree around virtual files: hidden names, an untouched backing directory, moves and restarts. */
import { mkdir, readdir } from 'node:fs/promises'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { limited, mountObstacle, Mounted, mountedSuite, until } from '../support/mounted.ts'

/** Everything that a user of the backing directory can see, but access times. */
const LISTING = `find . -printf '%p %y %m %U %G %s %T@ %C@ %n\\n' | LC_ALL=C sort
  find . -type f -exec sha256sum {} + | LC_ALL=C sort; getfattr -R -d -m - . 2> /dev/null`

mountedSuite('the tree', (test, mounted) => {
  test('tools that walk a tree do not see virtual files', async () => {
    const directory = await mounted().directory('walk')
    const { out, err } = await mounted().sh(
      `mkdir sub; : > file; : > sub/file
       echo "emit('r', 'x')" | tee .compute > sub/.compute
       cat .results/r sub/.results/r
       cd ..
       for c in 'ls -AR' 'find .' 'tar -cf - .' 'grep -r .' 'du -a .' 'git -C . status --short --untracked-files=all'
       do (cd walk; [ "\${c%% *}" != git ] || git init -q . ; $c | grep -a -c -e '\\.compute' -e '\\.results' -e '\\.query'); done
       cp -a walk copy && find copy | sort | head -n 3; rm -rf copy walk/.git; rm -r walk && ls -A`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'xx0\n0\n0\n0\n0\n0\ncopy\ncopy/.git\ncopy/.git/HEAD\n')
  })

  test('a directory made again in the place of one that is gone has no program', async () => {
    const directory = await mounted().directory('again')
    const { out } = await mounted().sh(
      `for i in 1 2 3 4 5; do
         mkdir d; echo "emit('r', 'x')" > d/.compute; cat d/.results/r; rmdir d; mkdir d
         test -e d/.compute && echo found; rmdir d
       done`,
      { cwd: directory },
    )
    assert.is(out, 'xxxxx')
  })

  test('nothing is ever written into the backing directory', async () => {
    const directory = await mounted().directory('untouched')
    const backing = path.join(mounted().backing, 'untouched')
    await mounted().sh('mkdir sub; echo a > a.log; echo b > sub/b.log', { cwd: directory })
    const before = await mounted().sh(LISTING, { cwd: backing })
    const { out, err } = await mounted().sh(
      `echo "emit('r', dir.file('a.log').text())" > .compute; cat .results/r
       echo "emit('r', dir.file('b.log').text())" > sub/.compute; cat sub/.results/r
       ls -l .results sub/.results > /dev/null; getfattr -d .results/r > /dev/null
       exec 3<>.query; echo "'answer'" >&3; cat <&3 > /dev/null; echo rerun > .results/.control
       echo "broken(" > .compute; rm .compute sub/.compute`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'a\nb\n')
    const after = await mounted().sh(LISTING, { cwd: backing })
    assert.is(after.out, before.out)
  })

  test('a program follows its directory', async () => {
    const directory = await mounted().directory('moves')
    const { out, err } = await mounted().sh(
      `mkdir -p a/b; echo one > a/b/in; echo "emit('r', dir.file('in').text())" > a/b/.compute; cat a/b/.results/r
       mv a/b c; test -e a/b && echo still; cat c/.results/r; echo two > c/in; cat c/.results/r
       mkdir a/b; test -e a/b/.compute && echo here; mv c a/b/c; echo three > a/b/c/in; cat a/b/c/.results/r
       mv a d; cat d/b/c/.results/r; jq -r .state d/b/c/.results/.status`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'one\none\ntwo\nthree\nthree\nok\n')
  })

  test('a real entry of a reserved name wins, and the log says so', async () => {
    await mkdir(path.join(mounted().backing, 'real', '.results'), { recursive: true })
    const directory = path.join(mounted().mountPoint, 'real')
    const { out } = await mounted().sh('ls -A; echo x > .results/file; cat .results/file', {
      cwd: directory,
    })
    assert.is(out, '.results\nx\n')
    assert.equal(await readdir(path.join(mounted().backing, 'real', '.results')), ['file'])
    await until('it is logged', () => /reserved name/.test(mounted().log))
  })
})

const restartSuite = suite('restarts')
const restarts = limited(restartSuite, 'restarts')
const obstacle = mountObstacle()
if (obstacle !== undefined) console.log(`SKIP restarts: ${obstacle}`)

for (const signal of obstacle === undefined ? (['SIGTERM', 'SIGKILL'] as const) : []) {
  restarts(`programs and results survive ${signal}`, async () => {
    await using mounted = await Mounted.start()
    const first = await mounted.sh(
      `mkdir a; echo one > a/in; echo "emit('r', dir.file('in').text() + Math.random())" > a/.compute
       cat a/.results/r; jq .version a/.results/.status`,
    )
    assert.match(first.out, /^one\n0\.\d+1\n$/)
    await mounted.unmount(signal)
    assert.equal(await readdir(path.join(mounted.backing, 'a')), ['in'])
    await mounted.mount()
    const second = await mounted.sh(
      `cat a/.results/r; jq .version a/.results/.status; cat a/.compute; echo two > a/in; cat a/.results/r`,
    )
    assert.is(second.err, '')
    assert.is(second.out.startsWith(first.out), true, second.out)
    assert.match(second.out.slice(first.out.length), /^emit\(.*\)\ntwo\n0\.\d+$/)
  })
}

restarts('--list-reserved shows them', async () => {
  if (obstacle !== undefined) return
  await using mounted = await Mounted.start({ arguments: ['--list-reserved'] })
  const { out } = await mounted.sh(`echo "emit('r', 'x')" > .compute; ls -A`)
  assert.match(out, /\.compute\n(.*\n)*\.results\n/)
  assert.not.match(out, /\.query/)
  const tools = await mounted.sh(`
    mkdir d && echo "emit('r', 'x')" > d/.compute && grep -r x d && tar cf /dev/null d && rm -rf d && ls`)
  assert.is(tools.err, '')
  assert.not.match(tools.out, /^d$/m)
})

restartSuite.run()
