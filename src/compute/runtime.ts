import { readFileSync } from 'node:fs'

/** Changes when the same program could give other bytes; results of another API run again. */
const API_VERSION = 1

const manifest = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
) as { version: string }

/** What computed a set, as `user.insitu.runtime` says it. */
export const RUNTIME = `insitu/${manifest.version} node/${process.versions.node} api/${API_VERSION}`
