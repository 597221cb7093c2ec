/** What a walk of a path ends in, by a mount table. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { mountAtEnd, parseMounts } from '../../src/containers/mount-view.ts'

const test = suite('mount view')

function endOf(lines: readonly string[], path: string): string | undefined {
  return mountAtEnd(parseMounts(lines.join('\n')), path)?.id
}

const ROOT = '20 10 8:1 / / rw - ext4 /dev/sda rw'
const VOLUME = '30 20 0:50 /g1 /srv/data ro - fuse.insitu insitu ro'

test('the mount at the path, or the one that it is in', () => {
  assert.is(endOf([ROOT, VOLUME], '/srv/data'), '30')
  assert.is(endOf([ROOT, VOLUME], '/srv/data/below'), '30')
  assert.is(endOf([ROOT, VOLUME], '/srv/database'), '20')
  assert.is(endOf([ROOT], '/srv/data'), '20')
  assert.is(endOf([], '/srv/data'), undefined)
})

test('what is mounted on it or above it afterwards covers it', () => {
  assert.is(endOf([ROOT, VOLUME, '31 30 0:51 / /srv/data rw - tmpfs none rw'], '/srv/data'), '31')
  assert.is(endOf([ROOT, VOLUME, '32 20 0:52 / /srv rw - tmpfs none rw'], '/srv/data'), '32')
  // Before, it is what the volume stands in.
  const below = '30 32 0:50 /g1 /srv/data ro - fuse.insitu insitu ro'
  assert.is(endOf([ROOT, '32 20 0:52 / /srv rw - tmpfs none rw', below], '/srv/data'), '30')
  // Over the root itself.
  assert.is(endOf([ROOT, '40 20 0:60 / / rw - overlay none rw', VOLUME], '/srv/data'), '40')
})

test('a table that runs in a circle ends', () => {
  endOf(['1 2 0:1 / / rw - a b c', '2 1 0:2 / / rw - a b c'], '/x')
})

test('names as the kernel writes them', () => {
  const [one] = parseMounts('30 20 0:50 /g1 /a\\040b\\012c ro - fuse.insitu insitu ro')
  assert.is(one?.mountPoint, '/a b\nc')
  assert.is(one?.deviceMinor, 50)
  assert.is(parseMounts(ROOT)[0]?.deviceMinor, undefined)
})

test.run()
