/**
 * Libraries that a process which serves a mount is to be started with: a sanitizer's, for a run of
 * scripts/test-sanitized, and a test's own. Only that process gets them, none that it starts: shells
 * and jails are to be what they always are.
 */
import { fileURLToPath } from 'node:url'

const dropping = fileURLToPath(new URL('drop-preload.ts', import.meta.url))

export function preloadedEnvironment(...own: readonly string[]): NodeJS.ProcessEnv {
  // A sanitizer's has to come first.
  const libraries = [process.env['INSITU_TEST_PRELOAD'] ?? '', ...own].filter(Boolean)
  if (libraries.length === 0) return process.env
  return {
    ...process.env,
    LD_PRELOAD: libraries.join(':'),
    // What is preloaded may count files or calls: none but those of the test.
    NODE_DISABLE_COMPILE_CACHE: '1',
    NODE_OPTIONS: `--import=${dropping} ${process.env['NODE_OPTIONS'] ?? ''}`,
  }
}
