/** What a user is told when a program cannot be had, by each tool's own exit code and message. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { mountedSuite } from '../support/mounted.ts'

const BROKEN = `const n = 1\nemit('r' n)\n`

const TOOLS: Record<string, string> = {
  cp: 'cp "$P" .compute',
  cat: 'cat "$P" > .compute',
  tee: 'tee .compute < "$P" > /dev/null',
  dd: 'dd if="$P" of=.compute status=none',
  install: 'install "$P" .compute',
}

mountedSuite('refused programs', (test, mounted) => {
  async function brokenProgram(): Promise<string> {
    const program = path.join(mounted().base, 'broken.js')
    await writeFile(program, BROKEN)
    return program
  }

  for (const [tool, script] of Object.entries(TOOLS)) {
    test(`${tool} says that the program does not compile`, async () => {
      const directory = await mounted().directory(`broken-${tool}`)
      const { code, err } = await mounted().sh(`export P=${await brokenProgram()}; ${script}`, {
        cwd: directory,
      })
      assert.is.not(code, 0)
      assert.match(err, /Exec format error/)
      await isBroken(directory)
    })
  }

  test('a shell’s own echo hears nothing, so the results tell', async () => {
    const directory = await mounted().directory('broken-echo')
    await mounted().sh(`echo "const n = 1; emit('r' n)" > .compute`, { cwd: directory })
    await isBroken(directory)
  })

  async function isBroken(directory: string): Promise<void> {
    const { out, err } = await mounted().sh(
      `cat .results/r; ls .results; jq -r .state .results/.status
       grep -c SyntaxError .results/.error; wc -c < .compute`,
      { cwd: directory },
    )
    const lines = out.split('\n')
    assert.is(lines[0], 'broken')
    assert.is(lines[1], '1')
    assert.ok(Number(lines[2]) > 20)
    assert.is(err.match(/Input\/output error/g)?.length, 2)
  }

  test('mv from another file system keeps the source', async () => {
    const directory = await mounted().directory('broken-mv')
    const { code, out, err } = await mounted().sh(
      `P=${await brokenProgram()}; cp $P $P.mv; mv $P.mv .compute; c=$?; cat $P.mv; exit $c`,
      { cwd: directory },
    )
    assert.is(code, 1)
    assert.match(err, /Exec format error/)
    assert.is(out, BROKEN)
  })

  test('mv in the same one changes nothing at all', async () => {
    const directory = await mounted().directory('broken-rename')
    const { out, err } = await mounted().sh(
      `echo "emit('r', 'old')" > .compute; cp ${await brokenProgram()} new.js
       mv new.js .compute && echo moved; cat new.js .results/r .compute`,
      { cwd: directory },
    )
    assert.match(err, /Exec format error/)
    assert.is(out, `${BROKEN}oldemit('r', 'old')\n`)
  })

  test('a program that is mended answers', async () => {
    const directory = await mounted().directory('mended')
    const { out, err } = await mounted().sh(
      `cp ${await brokenProgram()} .compute; cat .results/r; echo "emit('r', 'well')" > .compute; cat .results/r; wc -c < .results/.error`,
      { cwd: directory },
    )
    assert.is(out, 'well0\n')
    assert.match(err, /Exec format error[^]*Input\/output error/)
  })

  test('a program over the bound is refused while it is written, and the old one stays', async () => {
    const directory = await mounted().directory('too-large')
    const { code, out, err } = await mounted().sh(
      `echo "emit('r', 'old')" > .compute
       { echo '/*'; head -c 2000000 /dev/zero | tr '\\0' x; echo '*/'; } > ../large.js
       cp ../large.js .compute; c=$?
       cp ../large.js large.js; mv large.js .compute
       cat .results/r; exit $c`,
      { cwd: directory },
    )
    assert.is(code, 1)
    assert.match(err, /^cp: .*File too large\n(cp: .*File too large\n)?mv: .*File too large\n$/)
    assert.is(out, 'old')
  })

  test('a program in bytes that are no text', async () => {
    const directory = await mounted().directory('binary')
    const { code, err } = await mounted().sh('cp /bin/true .compute', { cwd: directory })
    assert.is(code, 1)
    assert.match(err, /Exec format error/)
  })

  test('a program that fails names its own line and column', async () => {
    const directory = await mounted().directory('throws')
    const { out, err } = await mounted().sh(
      `printf 'const a = 1\\n\\n  throw new TypeError("no " + a)\\n' > .compute
       cat .results/r; cat .results/.error; jq -c '[.state, .error.name, .error.line, .error.column]' .results/.status`,
      { cwd: directory },
    )
    assert.match(err, /Input\/output error/)
    assert.match(out, /TypeError: no 1/)
    assert.match(out, /:3:9/)
    assert.match(out, /\["failed","TypeError",3,9\]/)
  })

  test('a name that was not emitted is none', async () => {
    const directory = await mounted().directory('absent')
    const { out, err } = await mounted().sh(
      `echo "emit('r', 'x')" > .compute; cat .results/other; stat .results/other; ls .results/other; cat .results/r`,
      { cwd: directory },
    )
    assert.is(out, 'x')
    assert.is(err.match(/No such file/g)?.length, 3)
  })
})
