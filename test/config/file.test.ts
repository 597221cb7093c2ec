/** `insitu.yaml`: what it means, and where its mistakes are. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseConfiguration } from '../../src/config/file.ts'

const test = suite('configuration file')

/** As `line:column key`. */
function places(text: string): string[] {
  return (parseConfiguration(text).mistakes ?? []).map(
    ({ line, column, key }) => `${line}:${column} ${key}`,
  )
}

function messages(text: string): string[] {
  return (parseConfiguration(text).mistakes ?? []).map(({ message }) => message)
}

/** As `line:column key: message`. */
function mistakes(text: string): string[] {
  return (parseConfiguration(text).mistakes ?? []).map(
    ({ line, column, key, message }) => `${line}:${column} ${key}: ${message}`,
  )
}

test('an empty file serves nobody, with the defaults', () => {
  const { configuration } = parseConfiguration('# nothing yet\n')
  assert.is(configuration?.state, '/var/lib/insitu')
  assert.is(configuration?.runtime, '/run/insitu')
  assert.equal(configuration?.tenants, [])
})

test('sizes, durations and ranges are as people write them', () => {
  const { configuration } = parseConfiguration(`
limits: { wall: 2m, memory: 64M }
tenants:
  acme: { ids: 100000-165535, limits: { wall: 500ms, output: 1.5GiB } }
  solo: { ids: 2000 }
volumes:
  data: { path: /srv/data, class: { name: fast, latencyP99: 2ms, throughput: 512M } }
policies:
  some: { tenants: [acme], volumes: { labels: { kind: data } }, modes: [ro], maxTtl: 7d }
`)
  const [acme, solo] = configuration?.tenants ?? []
  assert.equal(acme?.ids, { first: 100_000, count: 65_536 })
  assert.equal(solo?.ids, { first: 2_000, count: 1 })
  assert.is(acme?.limits.wallMs, 500)
  assert.is(acme?.limits.cpuMs, 500)
  assert.is(acme?.limits.memoryBytes, 64 * 1024 ** 2)
  assert.is(acme?.limits.outputBytes, 1.5 * 1024 ** 3)
  assert.is(solo?.limits.wallMs, 120_000)
  assert.is(configuration?.volumes[0]?.class.latencyP99Us, 2_000)
  assert.is(configuration?.volumes[0]?.class.throughputMiBps, 512)
  assert.is(configuration?.policies[0]?.maxTtlMs, 7 * 86_400_000)
})

test('every mistake is told at once, each where it stands', () => {
  const text = `stat: /x
tenants:
  acme: { ids: 5-0, mountPiont: /mnt/a }
  acme: { ids: zz }
  b c: { ids: 10 }
  q: { home: relative }
policies:
  x:
    tenants: [nope, q]
    modes: [rx]
    volumes: {}
    maxTtl: soon
`
  assert.equal(places(text), [
    '1:1 stat',
    '3:11 tenants.acme.ids',
    '4:3 acme',
    '5:3 tenants.b c',
    '6:3 tenants.q',
    '6:8 tenants.q.home',
    '9:15 policies.x.tenants.0',
    '10:13 policies.x.modes.0',
    '11:5 policies.x.volumes',
    '12:5 policies.x.maxTtl',
  ])
  assert.ok(messages(text)[0]?.includes('"state"'))
})

test('ranges of ids do not overlap, nor hold root', () => {
  assert.equal(places('tenants:\n  a: { ids: 10-20 }\n  b: { ids: 20-30 }\n'), [
    '3:8 tenants.b.ids',
  ])
  assert.equal(messages('tenants: { a: { ids: 0-20 } }'), [
    'id 0 is root’s and cannot be a tenant’s',
  ])
  assert.is(messages('tenants: { a: { ids: 20-10 } }').length, 1)
  assert.is(messages('tenants: { a: { ids: 4294967295 } }').length, 1)
})

test('no tree is in another', () => {
  const text = `
tenants:
  a: { ids: 10, home: /srv/a/ }
  b: { ids: 11, mountPoint: /srv/a/b }
volumes:
  one: { path: /srv/one }
  two: { path: /srv/one/two }
  all: { path: / }
  own: { path: /var/lib/insitu/tenants }
  odd: { path: /srv/../etc }
`
  assert.equal(places(text), [
    '4:17 tenants.b.mountPoint',
    '7:10 volumes.two.path',
    '8:10 volumes.all.path',
    '9:10 volumes.own.path',
    '10:10 volumes.odd.path',
    '10:10 volumes.odd.path',
  ])
})

test('a place that is wrong is told beside all that is wrong around it', () => {
  const at = mistakes(`tenants:
  acme: { idz: 5, home: /var/lib/insitu/x, limits: { wall: soon } }
  blue: { ids: 5, homes: x, home: /run/insitu/x }
volumes:
  data: { path: /var/lib/insitu/y, class: { nome: x }, modes: [ro, ro, no] }
`)
  for (const key of ['tenants.acme.home', 'tenants.blue.home', 'volumes.data.path'])
    assert.is(at.filter((each) => each.includes(`${key}: is inside the`)).length, 1, key)
})

test('where the endpoints of the machine are', () => {
  const at = mistakes(`plugin: { socket: plugin.sock, tenant: nobody }
https: { listen: 0.0.0.0:8443 }
`)
  assert.equal(at, [
    '1:11 plugin.socket: expected an absolute path of at most 107 bytes',
    '1:32 plugin.tenant: there is no tenant nobody in this file',
    '2:10 https.listen: others than this machine reach it: to want that, add beyondLoopback: true',
  ])
  for (const [listen, why] of [
    ['127.0.0.1', 'expected'],
    ['999.0.0.1:1', 'no address'],
    ['127.0.0.1:0', 'a port'],
    ['127.0.0.1:70000', 'a port'],
    ['"[::2]:443"', 'others than'],
    ['10.0.0.1:443', 'others than'],
  ] as const)
    assert.match(mistakes(`https: { listen: ${listen} }`)[0] ?? '', why, listen)
  for (const good of ['127.1.2.3:443', '"[::1]:443"', '0.0.0.0:1, beyondLoopback: true'])
    assert.equal(mistakes(`https: { listen: ${good} }`), [], good)
})

test('what is not YAML is told with its line', () => {
  assert.ok(places('tenants: [\n')[0]?.startsWith('2:1'))
  assert.is(messages('a: &a [*a, *a]\nb: *c\n').length > 0, true)
  assert.is(messages('- 1').length, 1)
  assert.is(messages('tenants: { a: { ids: !!binary aGk= } }').length > 0, true)
})

test('no file is too hostile to be told what is wrong with it', () => {
  const bomb = Array.from({ length: 30 }, (_, at) =>
    at === 0 ? 'a0: &a0 [x]' : `a${at}: &a${at} [*a${at - 1}, *a${at - 1}]`,
  ).join('\n')
  assert.ok(messages(bomb).length > 0)
  const many = Array.from({ length: 5_000 }, (_, at) => `k${at}: 1`).join('\n')
  assert.is(messages(many).length, 100)
  assert.is(messages('x'.repeat(9 * 1024 * 1024)).length, 1)
})

test.run()
