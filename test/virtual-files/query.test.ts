/** `.query`: a program and its answer over one descriptor. */
import * as assert from 'uvu/assert'
import { mountedSuite } from '../support/mounted.ts'

mountedSuite('queries', (test, mounted) => {
  test('ask and read on one descriptor, again and again', async () => {
    const directory = await mounted().directory('ask')
    const { out, err } = await mounted().sh(
      `echo one > in; exec 3<>.query
       echo "export default (dir) => dir.file('in').text()" >&3; cat <&3
       echo two > in; echo "export default (dir) => dir.file('in').text()" >&3; cat <&3; cat <&3
       test -e .compute && echo attached; ls -A`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'one\ntwo\nin\n')
  })

  test('a single emitted file is the answer', async () => {
    const directory = await mounted().directory('emitted')
    const { out } = await mounted().sh(
      `exec 3<>.query; echo "emit('any.json', { a: 1 })" >&3; jq -c . <&3`,
      { cwd: directory },
    )
    assert.is(out, '{"a":1}\n')
  })

  test('concurrent users do not meet', async () => {
    const directory = await mounted().directory('concurrent')
    const ask = (n: number): string =>
      `exec 3<>.query; echo "export default () => 'answer ${n}'" >&3; cat <&3`
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) => mounted().sh(ask(n), { cwd: directory })),
    )
    answers.forEach(({ out, err }, n) => assert.is(out + err, `answer ${n}`))
  })

  test('calls the attached program with arguments of its own', async () => {
    const directory = await mounted().directory('import')
    const { out, err } = await mounted().sh(
      `echo ab > in; echo "export default (dir, times = 1) => dir.file('in').text().trim().repeat(times)" > .compute; cat .results/result; echo
       exec 3<>.query; echo "import program from '.compute'; export default (dir) => program(dir, 3)" >&3; cat <&3`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, 'ab\nababab')
  })

  test('a large answer comes whole', async () => {
    const directory = await mounted().directory('large')
    const { out } = await mounted().sh(
      `exec 3<>.query; echo "export default () => 'x'.repeat(5_000_000)" >&3; wc -c <&3`,
      { cwd: directory },
    )
    assert.is(out, '5000000\n')
  })

  test('a failed query fails one read, and the next tells why', async () => {
    const directory = await mounted().directory('failed')
    const { out, err } = await mounted().sh(
      `exec 3<>.query
       echo "throw new RangeError('too far')" >&3; cat <&3; cat <&3
       echo "const = 1" >&3; cat <&3; cat <&3
       echo "export default () => 'well'" >&3; cat <&3`,
      { cwd: directory },
    )
    assert.match(err, /Input\/output error[^]*Exec format error/)
    assert.match(out, /RangeError: too far[^]*SyntaxError[^]*well$/)
  })

  test('reads that do not block, and poll', async () => {
    const directory = await mounted().directory('poll')
    const { out, err } = await mounted().sh(
      `python3 - <<'EOF'
import os, select
fd = os.open('.query', os.O_RDWR | os.O_NONBLOCK)
os.write(fd, b"let n = 0; for (let i = 0; i < 3e8; i++) n = (n + i) | 0; emit('r', 'late')")
try:
    print(os.read(fd, 10))
except BlockingIOError:
    print('not yet')
p = select.poll(); p.register(fd, select.POLLIN)
print(p.poll(30000) == [(fd, select.POLLIN)])
print(os.read(fd, 10), os.read(fd, 10))
EOF`,
      { cwd: directory },
    )
    assert.is(err, '')
    assert.is(out, `not yet\nTrue\nb'late' b''\n`)
  })

  test('a signal frees a reader, and closing ends the query', async () => {
    const directory = await mounted().directory('signals')
    const shell = mounted().background(
      `timeout -s INT 1 bash -c 'exec 3<>.query; echo "for (;;) {}" >&3; exec cat <&3'; echo "$?"`,
      { cwd: directory },
    )
    assert.is((await shell.output).out, '124\n')
  })

  test('it is open both ways, and hidden', async () => {
    const directory = await mounted().directory('ways')
    const { out, err } = await mounted().sh(
      `cat .query; echo x > .query; ls -A; stat -c %F .query`,
      {
        cwd: directory,
      },
    )
    assert.is(err.match(/Invalid argument/g)?.length, 2)
    assert.match(out, /^\S* ?\S* ?file\n$/)
  })

  test('runs with the rights of who opened it', async () => {
    const directory = await mounted().directory('rights', 0o755)
    const { out, err } = await mounted().sh(
      `echo secret > in; chmod 600 in
       ask='exec 3<>.query; echo "export default (dir) => dir.file(\\"in\\").text()" >&3; cat <&3'
       setpriv --reuid 61001 --regid 61001 --clear-groups bash -c "$ask"; bash -c "$ask"`,
      { cwd: directory },
    )
    assert.match(err, /^cat: .*\n$/)
    assert.is(out, 'secret\n')
  })
})
