/** Who waits for a run, what ends the wait, and that nobody else in the directory ever waits. */
import * as assert from 'uvu/assert'
import { Mounted, mountedSuite, signalGroup, until, type Shell } from '../support/mounted.ts'

const ENDLESS = `for (;;) {}`
/** Long enough to send signals meanwhile. */
const SLOW = `let n = 0; for (let i = 0; i < 1.5e9; i += 1) n = (n + i) | 0; emit('r', 'done')`
const QUICK_MS = 10_000

mountedSuite('waiting', (test, mounted) => {
  async function waiting(directory: string, script: string): Promise<Shell> {
    const shell = mounted().background(script, { cwd: directory })
    await until('the run has begun', async () => {
      const { out } = await mounted().sh('jq -r .state .results/.status', { cwd: directory })
      return out === 'running\n'
    })
    await isBlocked(shell)
    return shell
  }

  /** Not proof of a wait, but a reader that answers at once would be seen here. */
  async function isBlocked(shell: Shell): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 150))
    assert.is(shell.process.exitCode, null)
  }

  async function cancel(directory: string): Promise<void> {
    await mounted().sh('rm -f .compute', { cwd: directory })
  }

  for (const [name, look] of Object.entries({
    open: 'cat .results/r',
    stat: 'stat .results/r',
    opendir: 'ls .results',
    'open without blocking': `python3 -c "import os; os.open('.results/r', os.O_RDONLY | os.O_NONBLOCK)"`,
  })) {
    test(`${name} waits, and blocks nobody else`, async () => {
      const directory = await mounted().directory(`blocks-${name.replace(/ /g, '')}`)
      await mounted().sh(`echo other > other; echo "${ENDLESS}" > .compute`, { cwd: directory })
      const others = [
        'touch new && rm new',
        'ls -A',
        'stat other .results .compute',
        'mkdir d && mv d e && rmdir e',
        'cat other .compute',
        'mv other renamed && mv renamed other',
        'ln other hard && rm hard',
        'cat .results/.status .results/.log .results/.error .results/.inputs',
        'stat .results/.status',
        'ls -A ..; find .. -maxdepth 2 > /dev/null',
        'echo append >> other',
        '! test -e .results/.last',
        'cd .results && ls -d .',
      ]
      const waiters = [await waiting(directory, look)]
      waiters.push(mounted().background(look, { cwd: directory }))
      try {
        for (const command of others) {
          const { code, err } = await mounted().sh(command, { cwd: directory, timeoutMs: QUICK_MS })
          assert.is(`${code} ${err}`, '0 ', command)
        }
        for (const { process } of waiters) assert.is(process.exitCode, null)
      } finally {
        for (const { process, output } of waiters) {
          signalGroup(process, 'SIGKILL')
          await output
        }
        await cancel(directory)
      }
    })
  }

  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGKILL', 137],
  ] as const) {
    test(`${signal} ends every wait at once`, async () => {
      const directory = await mounted().directory(signal)
      await mounted().sh(`echo "${ENDLESS}" > .compute`, { cwd: directory })
      const looks = ['cat .results/r', 'stat .results/r', 'ls .results']
      const waiters = [...looks, ...looks].map((look) =>
        mounted().background(`exec ${look}`, { cwd: directory }),
      )
      waiters.push(await waiting(directory, 'exec cat .results/r'))
      const started = Date.now()
      for (const { process } of waiters) signalGroup(process, signal)
      for (const { output } of waiters) assert.is((await output).code, code)
      // The wall limit is a minute: it was the signal.
      assert.ok(Date.now() - started < QUICK_MS)
      await cancel(directory)
    })
  }

  test('a signal that a program handles and goes on does not end a wait', async () => {
    const directory = await mounted().directory('winch')
    await mounted().sh(`echo "${SLOW}" > .compute; echo rerun > .results/.control`, {
      cwd: directory,
    })
    const reader = mounted().background(
      `trap : WINCH; exec 3< .results/r && cat <&3; trap - WINCH`,
      { cwd: directory },
    )
    const viewer = mounted().background('cat .results/r', { cwd: directory })
    for (let i = 0; i < 10; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      if (reader.process.exitCode === null) reader.process.kill('SIGWINCH')
      signalGroup(viewer.process, 'SIGWINCH')
    }
    for (const shell of [reader, viewer]) {
      const { out, err } = await shell.output
      assert.is(err, '')
      assert.is(out, 'done')
    }
  })

  test('many readers of a slow result wait for one run', async () => {
    const directory = await mounted().directory('many')
    await mounted().sh(`echo "${SLOW}" > .compute`, { cwd: directory })
    const readers = Array.from({ length: 12 }, () =>
      mounted().sh('cat .results/r', { cwd: directory }),
    )
    for (const { out, err } of await Promise.all(readers)) assert.is(out + err, 'done')
    const { out } = await mounted().sh('jq .version .results/.status', { cwd: directory })
    assert.is(out, '1\n')
  })

  test('a new program frees who waited for the old one', async () => {
    const directory = await mounted().directory('superseded')
    await mounted().sh(`echo "${ENDLESS}" > .compute`, { cwd: directory })
    const waiter = await waiting(directory, 'cat .results/r')
    await mounted().sh(`echo "emit('r', 'new')" > .compute`, { cwd: directory })
    const { out, err } = await waiter.output
    assert.is(out, 'new')
    assert.is(err, '')
  })

  test('rm frees who waited', async () => {
    const directory = await mounted().directory('removed')
    await mounted().sh(`echo "${ENDLESS}" > .compute`, { cwd: directory })
    const waiter = await waiting(directory, 'cat .results/r')
    await mounted().sh('rm .compute', { cwd: directory })
    const { code } = await waiter.output
    assert.is(code, 1)
  })

  test('.control cancels a run, and starts one', async () => {
    const directory = await mounted().directory('control')
    await mounted().sh(`echo "${ENDLESS}" > .compute`, { cwd: directory })
    const waiter = await waiting(directory, 'cat .results/r')
    const { code, err } = await mounted().sh(
      `echo cancel > .results/.control; ! echo nonsense > .results/.control; jq -r .state .results/.status`,
      { cwd: directory },
    )
    assert.is(code, 0)
    assert.match(err, /Invalid argument/)
    assert.match((await waiter.output).err, /cat: .results\/r: /)
    await cancel(directory)
  })

  test('an unmount frees who waits', async () => {
    await using own = await Mounted.start()
    await own.sh(`echo "${ENDLESS}" > .compute`)
    const waiter = own.background('cat .results/r')
    await isBlocked(waiter)
    await own.unmount()
    assert.is((await waiter.output).code, 1)
  })
})

mountedSuite(
  'the wall limit',
  (test, mounted) => {
    test('ends a run and its readers, and says why', async () => {
      const directory = await mounted().directory('wall')
      const { out, err } = await mounted().sh(
        `echo "${ENDLESS}" > .compute; cat .results/r; cat .results/.error; jq -r '.state, .error.limit' .results/.status`,
        { cwd: directory },
      )
      assert.match(err, /Input\/output error/)
      assert.match(out, /failed\nwall\n$/)
    })
  },
  { arguments: ['--timeout', '1s'] },
)
