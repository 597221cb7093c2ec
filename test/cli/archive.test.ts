import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseArchive, toArchive } from '../../src/cli/program-archive.ts'

const test = suite('program archive')
const principal = { uid: 1000, gid: 100, groups: [4, 24] }
const text = { path: 'b', source: Buffer.from('emit("ä", 1)').toString('base64'), principal }
const bytes = { path: 'a', source: Buffer.from([0xff, 0x00, 0xfe]).toString('base64'), principal }

test('what was exported comes back, sorted', () => {
  assert.equal(parseArchive(toArchive([text, bytes]), 'x'), [bytes, text])
  assert.equal(parseArchive(toArchive([]), 'x'), [])
})

test('text stays readable', () => {
  assert.match(toArchive([text]), 'emit(\\"ä\\", 1)')
})

test('what is no archive is refused in one sentence', () => {
  const whole = { format: 'insitu-programs/1', programs: [{ path: '', source: '', principal }] }
  assert.is(parseArchive(JSON.stringify(whole), 'x').length, 1)
  const wrong: unknown[] = [
    null,
    [],
    {},
    { ...whole, format: 'insitu-programs/2' },
    { ...whole, programs: {} },
    { ...whole, programs: [null] },
    { ...whole, programs: [{ path: '', source: '' }] },
    { ...whole, programs: [{ path: 1, source: '', principal }] },
    { ...whole, programs: [{ path: '', principal }] },
    { ...whole, programs: [{ path: '', source: '', principal: { ...principal, uid: -1 } }] },
    { ...whole, programs: [{ path: '', source: '', principal: { ...principal, groups: ['x'] } }] },
  ]
  for (const value of wrong)
    assert.throws(() => parseArchive(JSON.stringify(value), 'file.json'), /file\.json/)
  assert.throws(() => parseArchive('{', 'file.json'), /is not an archive/)
})

test.run()
