/** Programs in grafts: attached, fresh, and apart from all other trees. */
import * as fs from 'node:fs/promises'
import path from 'node:path'
import * as assert from 'uvu/assert'

import { type GraftMount, graftSuite } from '../support/graft-mount.ts'
import { startShell, until, type Output } from '../support/mounted.ts'

const suite = graftSuite('grafts: programs')

function test(name: string, body: (mount: GraftMount) => Promise<void>): void {
  suite(name, body, { compute: true })
}

/** What the sum of the numbers in the directory's files is. */
const SUM = `export default (dir) => {
  let sum = 0
  for (const file of dir.files('*.txt')) sum += Number(file.text())
  emit('sum', String(sum))
}`

async function sh(cwd: string, script: string, uid?: number): Promise<Output> {
  return startShell(script, { cwd, ...(uid !== undefined && { uid }) }).output
}

async function attach(at: string, source = SUM): Promise<void> {
  await fs.writeFile(path.join(at, '.compute'), source)
}

test('a program in a writable one answers, and answers anew', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'a.txt'), '1')
  await mount.graft({ name: 'data', backing: tree, compute: true, revocable: true })
  const at = path.join(mount.mountPoint, 'data')
  await attach(at)
  assert.is(await fs.readFile(path.join(at, '.results', 'sum'), 'utf8'), '1')
  await fs.writeFile(path.join(at, 'b.txt'), '2')
  assert.is(await fs.readFile(path.join(at, '.results', 'sum'), 'utf8'), '3')
  const { out } = await sh(
    at,
    'exec 3<>.query; echo "export default (dir) => dir.files().length" >&3; cat <&3',
  )
  assert.is(out.trim(), '2')
  assert.equal((await fs.readdir(tree)).toSorted(), ['a.txt', 'b.txt'])
  assert.equal(
    (await mount.programs()).map((program) => program.path),
    ['data'],
  )
})

/** Settles with the code of the error, '' for none. */
async function codeOf(attempt: Promise<unknown>): Promise<string> {
  return attempt.then(
    () => '',
    (error: unknown) => (error as NodeJS.ErrnoException).code ?? String(error),
  )
}

const read = (...names: string[]): Promise<string> => fs.readFile(path.join(...names), 'utf8')

/** Waits in its run until it is killed: it looks for a file that never comes. */
const WAITS = `export default (dir) => { for (;;) dir.file("never").exists }`

test('in a read-only one nothing is written, and the right is that of the bits', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'a.txt'), '1')
  await fs.mkdir(path.join(tree, 'open'))
  await fs.chmod(path.join(tree, 'open'), 0o777)
  await fs.writeFile(path.join(tree, 'real.txt'), '')
  await mount.graft({ name: 'data', backing: tree, compute: true, revocable: true, readOnly: true })
  const at = path.join(mount.mountPoint, 'data')
  await attach(at)
  assert.is(await read(at, '.results', 'sum'), '1')
  assert.equal((await fs.readdir(tree)).toSorted(), ['a.txt', 'open', 'real.txt'])
  // As whom the bits let write, and as whom they do not.
  const script = `echo 'emit("uid", "x")' > .compute && cat .results/uid`
  assert.is((await sh(path.join(at, 'open'), script, 1234)).out, 'x')
  assert.match((await sh(at, script, 1234)).err, /Permission denied/)
  assert.is(await read(at, '.results', 'sum'), '1')
  // A reader may ask, without attaching anything.
  const ask = `exec 3<>.query; echo 'export default (dir) => dir.files("*.txt").length' >&3; cat <&3`
  assert.is((await sh(at, ask, 1234)).out.trim(), '2')
  // What is no program is refused as ever.
  for (const change of [
    'mv real.txt .compute',
    'mkdir .results',
    'mkdir .compute2',
    'touch .compute2',
    'ln -s a .query',
    'ln a.txt .compute2',
  ])
    assert.is.not((await sh(at, change)).code, 0, change)
  assert.equal((await fs.readdir(tree)).toSorted(), ['a.txt', 'open', 'real.txt'])
  assert.is((await sh(at, 'rm .compute && ls -a')).out.includes('.compute'), false)
  assert.is(await codeOf(fs.stat(path.join(at, '.compute'))), 'ENOENT')
})

test('real entries with reserved names, in a read-only one, are not to be changed', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, '.compute'), 'a real one')
  await fs.mkdir(path.join(tree, '.results'))
  await mount.graft({ name: 'data', backing: tree, compute: true, readOnly: true })
  const at = path.join(mount.mountPoint, 'data')
  assert.is(await codeOf(fs.writeFile(path.join(at, '.compute'), 'x')), 'EROFS')
  assert.is(await codeOf(fs.unlink(path.join(at, '.compute'))), 'EROFS')
  assert.is(await codeOf(fs.rmdir(path.join(at, '.results'))), 'EROFS')
  assert.is(await codeOf(fs.writeFile(path.join(at, '.results', 'x'), 'x')), 'EROFS')
  assert.is(await read(at, '.compute'), 'a real one')
  assert.is(await read(tree, '.compute'), 'a real one')
  await until('the log says so', () => mount.log.some((line) => line.includes('data/.compute')))
})

test('one that is granted without takes none, and says so', async (mount) => {
  const tree = mount.tree('tree')
  await mount.graft({ name: 'data', backing: tree })
  const at = path.join(mount.mountPoint, 'data')
  for (const name of ['.compute', '.results', '.query'])
    assert.is(await codeOf(fs.stat(path.join(at, name))), 'ENOENT', name)
  assert.is(await codeOf(fs.writeFile(path.join(at, '.compute'), SUM)), 'EACCES')
  await until('the log says so', () =>
    mount.log.some(
      (line) => line.includes('compute-not-granted') && line.includes('data/.compute'),
    ),
  )
  assert.equal(await fs.readdir(tree), [])
})

test('a program sees its own tree: nothing of those in it, above it or beside it', async (mount) => {
  const [outer, inner, beside] = [mount.tree('outer'), mount.tree('inner'), mount.tree('beside')]
  await fs.writeFile(path.join(mount.backing, 'secret.txt'), '100')
  for (const [folder, value] of [
    [outer, 1],
    [inner, 10],
    [beside, 1000],
  ] as const)
    await fs.writeFile(path.join(folder, 'a.txt'), String(value))
  await fs.mkdir(path.join(outer, 'empty'))
  await fs.symlink('../secret.txt', path.join(outer, 'up.txt'))
  await fs.symlink(path.join(mount.mountPoint, 'secret.txt'), path.join(outer, 'absolute.txt'))
  await fs.symlink(path.join(mount.mountPoint, 'beside', 'a.txt'), path.join(outer, 'to.txt'))
  await fs.symlink('nested/a.txt', path.join(outer, 'in.txt'))
  await fs.symlink('nested', path.join(outer, 'link'))
  const options = { compute: true, revocable: true }
  const graft = await mount.graft({ name: 'data', backing: outer, ...options })
  await mount.graft({ name: 'nested', within: graft, backing: inner, ...options })
  await mount.graft({ name: 'beside', backing: beside, ...options })
  const look = `export default (dir) => {
    const code = (attempt) => { try { return String(attempt()) } catch (error) { return error.code ?? String(error) } }
    const seen = {}
    for (const name of ['up.txt', 'absolute.txt', 'to.txt', 'in.txt', 'nested/a.txt', 'data/a.txt', 'link/a.txt', '../secret.txt', '/etc/passwd', 'nested/../a.txt'])
      seen[name] = code(() => dir.file(name).text()).replace(/.*not a path below.*/, 'EINVAL')
    for (const name of ['nested', 'link', 'data', 'beside'])
      seen[name] = code(() => [...dir.dir(name).files()].length)
    seen.all = [...dir.files('**')].map((file) => file.name)
    emit('seen', seen)
  }`
  for (const at of ['data', '']) {
    await attach(path.join(mount.mountPoint, at), look)
    const seen = JSON.parse(await read(mount.mountPoint, at, '.results', 'seen')) as Record<
      string,
      unknown
    >
    for (const [name, what] of Object.entries(seen))
      if (name !== 'all')
        assert.ok(
          ['EXDEV', 'ENOENT', 'ELOOP', 'EINVAL', 'ENOTDIR'].includes(String(what)),
          `${at}: ${name} is ${String(what)}`,
        )
    const here = at === 'data' ? ['nested', 'link'] : ['data', 'beside']
    for (const name of here) assert.is(seen[name], 'EXDEV', `${at}: ${name}`)
    const all = seen['all'] as string[]
    assert.ok(all.includes(at === 'data' ? 'a.txt' : 'secret.txt'), String(all))
    assert.not.ok(
      all.some((name) => /nested|beside|data/.test(name)),
      String(all),
    )
    assert.is(all.includes('a.txt'), at === 'data')
  }
  // Each with a program of its own, under equal names and numbers.
  for (const at of ['data/nested', 'beside']) await attach(path.join(mount.mountPoint, at))
  assert.is(await read(mount.mountPoint, 'data/nested', '.results/sum'), '10')
  assert.is(await read(mount.mountPoint, 'beside', '.results/sum'), '1000')
  const paths = (await mount.programs()).map((program) => program.path)
  assert.equal(paths, ['', 'beside', 'data', 'data/nested'])
  const keys = await Promise.all(['', 'data', 'data/nested', 'beside'].map(mount.keyOf))
  assert.is(new Set(keys).size, 4)
})

test('a listing is fresh when a graft comes over one of its directories, and when it goes', async (mount) => {
  await fs.mkdir(path.join(mount.backing, 'point'))
  await fs.writeFile(path.join(mount.backing, 'a.txt'), '')
  await attach(
    mount.mountPoint,
    `export default (dir) => {
    let inside = 'nothing'
    try { inside = String([...dir.dir('point').files()].length) } catch (error) { inside = error.code }
    return inside + ' ' + [...dir.dirs()].map((each) => each.name).join()
  }`,
  )
  const result = path.join(mount.mountPoint, '.results', 'result')
  assert.is(await read(result), '0 point')
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'a'), '')
  const graft = await mount.graft({ name: 'point', backing: tree, revocable: true })
  assert.is(await read(result), 'EXDEV ')
  assert.is(await read(result), 'EXDEV ')
  await mount.revoke(graft)
  assert.is(await read(result), '0 point')
})

test('two filesystems whose directories have the same handles are two trees', async (mount) => {
  const [one, two] = [mount.tmpfs('one'), mount.tmpfs('two')]
  await fs.writeFile(path.join(one, 'a.txt'), '1')
  await fs.writeFile(path.join(two, 'a.txt'), '2')
  const options = { compute: true, revocable: true, identity: 'volume' }
  const first = await mount.graft({ name: 'data', backing: one, ...options })
  const at = path.join(mount.mountPoint, 'data')
  await attach(at)
  assert.is(await read(at, '.results', 'sum'), '1')
  await mount.revoke(first)
  // The same name is another filesystem by now: no program of the first is in it.
  const second = await mount.graft({ name: 'data', backing: two, ...options })
  assert.is(await codeOf(fs.stat(path.join(at, '.compute'))), 'ENOENT')
  assert.is(await codeOf(read(at, '.results', 'sum')), 'ENOENT')
  await attach(at)
  assert.is(await read(at, '.results', 'sum'), '2')
  await mount.revoke(second)
  await mount.graft({ name: 'other', backing: one, ...options })
  assert.is(await read(mount.mountPoint, 'other', '.results', 'sum'), '1')
})

test('an identity is for one tree at a time, and is a plain name', async (mount) => {
  const [one, two] = [mount.tree('one'), mount.tree('two')]
  for (const identity of ['', 'a:b', 'a/b', 'a\nb', 'a\0b', '#1', 'ä', 'n'.repeat(129)])
    assert.is(
      await codeOf(mount.graft({ name: 'x', backing: one, compute: true, identity })),
      'EINVAL',
      JSON.stringify(identity),
    )
  await mount.graft({ name: 'x', backing: one, compute: true, identity: 'n'.repeat(128) })
  await mount.graft({ name: 'y', backing: two, compute: true, identity: 'n'.repeat(128) })
  await attach(path.join(mount.mountPoint, 'x'), 'emit("x", "x")')
  assert.is(await read(mount.mountPoint, 'x', '.results', 'x'), 'x')
  assert.is(await codeOf(fs.stat(path.join(mount.mountPoint, 'y', '.results'))), 'ENOENT')
})

test('revoked in the middle of a run: who waits gets ESTALE, and the program comes back', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'a.txt'), '1')
  const request = { name: 'data', backing: tree, compute: true, revocable: true, identity: 'v' }
  const graft = await mount.graft(request)
  const at = path.join(mount.mountPoint, 'data')
  await fs.mkdir(path.join(at, 'good'))
  await fs.writeFile(path.join(at, 'good', 'a.txt'), '5')
  await attach(path.join(at, 'good'))
  assert.is(await read(at, 'good/.results/sum'), '5')
  const held = await fs.open(path.join(at, 'good/.results/sum'))
  await attach(at, WAITS)
  const waiters = [
    codeOf(read(at, '.results', 'result')),
    codeOf(fs.stat(path.join(at, '.results', 'other'))),
    codeOf(fs.readdir(path.join(at, '.results'))),
  ]
  const query = sh(at, `exec 3<>.query; cat >&3 <<< '${WAITS}'; cat <&3`)
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  await mount.revoke(graft)
  // By path the kernel looks again after ESTALE, and the point is gone by then.
  for (const code of await Promise.all(waiters)) assert.match(code, /^(ESTALE|ENOENT)$/)
  const asked = await query
  assert.match(asked.err, /Stale file handle/)
  assert.is(await codeOf(read(at, 'good/.results/sum')), 'ENOENT')
  // A copy that is open is read on.
  assert.is((await held.read(Buffer.alloc(9), 0, 9, 0)).bytesRead, 1)
  await held.close()
  assert.equal(await mount.programs(), [])
  assert.is((await fs.readdir(tree)).includes('.compute'), false)
  // Nothing holds the tree: a filesystem there could be unmounted.
  assert.equal((await mount.statistics()).grafts, [])
  const again = await mount.graft({ ...request, name: 'again' })
  const back = path.join(mount.mountPoint, 'again')
  assert.is(await read(back, 'good/.results/sum'), '5')
  assert.match(await read(back, '.results/.error'), /RevokedError: ESTALE/)
  assert.equal(
    (await mount.programs()).map((program) => program.path),
    ['again', 'again/good'],
  )
  await mount.revoke(again)
})

test('a tree whose programs ran can be unmounted after the revocation', async (mount) => {
  const tree = mount.tmpfs('tree')
  await fs.writeFile(path.join(tree, 'a.txt'), '7')
  const graft = await mount.graft({ name: 'data', backing: tree, compute: true, revocable: true })
  const at = path.join(mount.mountPoint, 'data')
  await attach(at)
  for (let i = 0; i < 3; i += 1) assert.is(await read(at, '.results', 'sum'), '7')
  await attach(path.join(at), WAITS)
  await new Promise((resolve) => setTimeout(resolve, 500))
  await mount.revoke(graft)
  const { code, err } = await sh('/', `umount ${tree}`)
  assert.is(code, 0, err)
})

test('programs outlive the server, and come back with their tree only', async (mount) => {
  const tree = mount.tree('tree')
  await fs.writeFile(path.join(tree, 'a.txt'), '1')
  const request = { name: 'data', backing: tree, compute: true, revocable: true, identity: 'v' }
  await mount.graft(request)
  const at = path.join(mount.mountPoint, 'data')
  await attach(at)
  assert.is(await read(at, '.results', 'sum'), '1')
  for (const killed of [false, true]) {
    await mount.restart(killed)
    assert.equal(await mount.programs(), [])
    assert.is(await codeOf(fs.stat(path.join(at, '.compute'))), 'ENOENT')
    // Under another name it is another tree to whoever grants it.
    const other = await mount.graft({ ...request, identity: 'w' })
    assert.is(await codeOf(fs.stat(path.join(at, '.compute'))), 'ENOENT')
    await mount.revoke(other)
    await mount.graft(request)
    assert.is(await read(at, '.compute'), SUM)
    assert.is(await read(at, '.results', 'sum'), '1')
  }
})

test('a directory that is moved out of its tree is no longer read', async (mount) => {
  const tree = mount.tree('tree')
  await fs.mkdir(path.join(tree, 'sub'))
  await fs.writeFile(path.join(tree, 'sub', 'a.txt'), '1')
  await mount.graft({ name: 'data', backing: tree, compute: true, revocable: true })
  const at = path.join(mount.mountPoint, 'data', 'sub')
  await attach(at)
  assert.is(await read(at, '.results', 'sum'), '1')
  const shell = startShell('read; cat .results/sum', { cwd: at })
  await new Promise((resolve) => setTimeout(resolve, 300))
  await fs.rename(path.join(tree, 'sub'), path.join(mount.scratch, 'away'))
  await fs.writeFile(path.join(mount.scratch, 'away', 'b.txt'), '2')
  shell.process.stdin?.end('\n')
  assert.is.not((await shell.output).out, '3')
})

test('on a filesystem without handles, and mounted read-only', async (mount) => {
  const layers = mount.tmpfs('layers')
  for (const name of ['lower', 'upper', 'work']) await fs.mkdir(path.join(layers, name))
  await fs.mkdir(path.join(layers, 'lower', 'sub'))
  await fs.writeFile(path.join(layers, 'lower', 'sub', 'a.txt'), '3')
  await fs.writeFile(path.join(layers, 'lower', 'sub', 'program'), SUM)
  const over = path.join(mount.scratch, 'over')
  await fs.mkdir(over)
  const made = await sh(
    layers,
    `mount -t overlay insitu-test -o lowerdir=lower,upperdir=upper,workdir=work ${over}`,
  )
  assert.is(made.code, 0, made.err)
  try {
    const options = { backing: over, compute: true, revocable: true, identity: 'v' }
    for (const readOnly of [false, true]) {
      // Of a superblock that cannot be written, only the bits can be asked.
      if (readOnly)
        assert.is((await sh('/', `chown 1234 ${over}/sub && mount -o remount,ro ${over}`)).code, 0)
      const graft = await mount.graft({ name: 'data', readOnly, ...options })
      const at = path.join(mount.mountPoint, 'data', 'sub')
      const script = 'cat program > .compute; cat .results/sum'
      const done = await sh(at, script, readOnly ? 1234 : undefined)
      assert.is(done.out, '3', done.err)
      if (readOnly) assert.match((await sh(at, 'echo x > .compute', 4321)).err, /denied/)
      await mount.revoke(graft)
    }
  } finally {
    assert.is((await sh('/', `umount -l ${over}`)).code, 0)
  }
})

test('what is renamed onto .compute no longer counts in a quota', async (mount) => {
  const tree = mount.tree('tree')
  const MIB = 1024 * 1024
  await mount.graft({ name: 'data', backing: tree, compute: true, quotaBytes: 4 * MIB })
  const at = path.join(mount.mountPoint, 'data')
  const usedBytes = async () => (await mount.statistics()).grafts[0]?.usedBytes
  const before = await usedBytes()
  for (const n of [1, 2, 3]) {
    await fs.writeFile(path.join(at, 'program.js'), `${SUM}\n// ${n}${'.'.repeat(MIB / 2)}`)
    await fs.rename(path.join(at, 'program.js'), path.join(at, '.compute'))
    // A release comes after its close(2).
    await until('its bytes are given back', async () => (await usedBytes()) === before, 5_000)
  }
})

suite.run()
