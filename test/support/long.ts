/** The long variants of tests (`scripts/test --long`), which may install what they need. */
import { spawnSync } from 'node:child_process'

export const long = process.env['INSITU_LONG'] === '1'

/** A random seed in long runs, always the same in short ones; `INSITU_SEED` names one. Printed. */
export function chooseSeed(): number {
  const given = process.env['INSITU_SEED']
  const seed =
    given !== undefined ? Number(given) : long ? Math.floor(Math.random() * 1_000_000_000) : 1
  console.log(`seed ${seed}`)
  return seed
}

export function isInstalled(tool: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${tool}`], { env: withSbin() }).status === 0
}

/** The tools that are not here. In a long run as root, Debian's packages are installed first. */
export function missingTools(needs: readonly string[], packages: readonly string[]): string[] {
  const missing = () => needs.filter((tool) => !isInstalled(tool))
  if (missing().length > 0 && long && process.getuid?.() === 0 && isInstalled('apt-get')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    spawnSync('apt-get', ['update', '-qq'], { stdio: 'ignore', env })
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], {
      stdio: 'ignore',
      env,
      timeout: 600_000,
    })
  }
  return missing()
}

function withSbin(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
}
