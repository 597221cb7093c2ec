import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts'

const test = suite('units')

test('sizes are powers of 1024', () => {
  const sizes: [string, number | undefined][] = [
    ['65536', 65536],
    ['64K', 65536],
    ['64k', 65536],
    ['1.5GiB', 1.5 * 1024 ** 3],
    ['256 MB', 256 * 1024 ** 2],
    ['0', undefined],
    ['-1', undefined],
    ['', undefined],
    ['1X', undefined],
    ['M', undefined],
    ['1e9', undefined],
    ['9999999T', undefined],
  ]
  for (const [text, expected] of sizes) assert.is(parseSize(text), expected, text)
})

test('a bare duration is seconds', () => {
  const durations: [string, number | undefined][] = [
    ['500ms', 500],
    ['30s', 30_000],
    ['30', 30_000],
    ['0.5', 500],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['0', undefined],
    ['1d', 86_400_000],
    ['1w', undefined],
    ['soon', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of durations) assert.is(parseDuration(text), expected, text)
})

test('what is shown is short', () => {
  assert.is(formatSize(17), '17 B')
  assert.is(formatSize(1536), '1.5 KiB')
  assert.is(formatSize(256 * 1024 ** 2), '256 MiB')
  assert.is(formatDuration(12), '12 ms')
  assert.is(formatDuration(1500), '1.5 s')
  assert.is(formatDuration(125_000), '2 min 5 s')
  assert.is(formatDuration(7_260_000), '2 h 1 min')
})

test.run()
