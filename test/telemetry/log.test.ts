import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'

import { createLog } from '../../src/telemetry/log.ts'
import { RateLimit } from '../../src/telemetry/rate-limit.ts'

const test = suite('the log')

test('says one message a bounded number of times a minute, and counts the rest', () => {
  const limit = new RateLimit({ perMinute: 2, messages: 10 })
  const said = (nowMs: number): string => JSON.stringify(limit.judge('m', nowMs))
  const say = '{"say":true,"suppressedBefore":0}'
  assert.equal([said(0), said(1)], [say, say])
  assert.is(said(2), '{"say":false,"first":true}')
  assert.is(said(3), '{"say":false,"first":false}')
  assert.is(JSON.stringify(limit.judge('another', 3)), say)
  assert.is(said(60_000), '{"say":true,"suppressedBefore":2}')
  assert.is(said(120_000), say)
})

test('remembers a bounded number of messages', () => {
  const limit = new RateLimit({ perMinute: 1, messages: 2 })
  for (const message of ['a', 'b', 'c']) limit.judge(message, 0)
  assert.is(limit.judge('c', 1).say, false)
  assert.is(limit.judge('a', 1).say, true)
})

test('is not flooded by warnings', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'insitu-log-'))
  const fd = openSync(path.join(folder, 'log'), 'w')
  try {
    const log = createLog({ level: 'info', human: true, fd })
    for (let i = 0; i < 1000; i += 1) log.warn({ i }, 'over and over')
    log.info('something else')
    const lines = readFileSync(path.join(folder, 'log'), 'utf8').trim().split('\n')
    assert.is(lines.length, 22)
    assert.match(lines[20] ?? '', 'over and over … more of the same are suppressed')
    assert.is(lines[21], 'insitu: something else')
  } finally {
    closeSync(fd)
    rmSync(folder, { recursive: true })
  }
})

test.run()
