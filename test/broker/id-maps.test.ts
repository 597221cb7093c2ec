/** Which ids of a volume a container's ids stand for. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { idMapsFor } from '../../src/containers/id-maps.ts'

const test = suite('ids in containers')
const tenant = { first: 100_000, count: 65_536 }

function mapsOf(userIds: string, groupIds = userIds) {
  return idMapsFor({ userIds, groupIds }, tenant)
}

test('the kth of the container is the kth of the tenant', () => {
  const maps = mapsOf('         0     300000      65536\n')
  assert.equal(maps, { users: '100000:300000:65536', groups: '100000:300000:65536' })
  // Rootless: the engine's user is root in there, and others come from elsewhere.
  assert.equal(mapsOf('0 1000 1\n1 300000 65536\n', '0 1000 1\n'), {
    users: '100000:1000:1,100001:300000:65535',
    groups: '100000:1000:1',
  })
})

test('ids of the tenant are left as they are', () => {
  assert.is(mapsOf('0 100000 65536\n'), undefined)
  assert.is(mapsOf('0 100000 1\n1 150000 100\n'), undefined)
  assert.not.equal(mapsOf('0 100000 65536\n', '0 100000 65537\n'), undefined)
})

test('what has no id for the tenant, or cannot be read, is refused', () => {
  assert.type(mapsOf('65536 300000 10\n'), 'string')
  for (const text of ['', '0 300000\n', '0 300000 65536\n1 2', 'x y z\n'])
    assert.type(mapsOf(text), 'string', text)
})

test.run()
