/** What guests need: bubblewrap, namespaces, seccomp, and a worker that really starts. */
import { DEFAULT_RUN_LIMITS, LOCAL_TENANT } from '../../config/limits.ts'
import { openSandbox } from '../../daemon/engine.ts'
import { Cgroup } from '../../sandbox/cgroup.ts'
import { probeJail } from '../../sandbox/index.ts'
import { currentPrincipal } from '../source.ts'
import { missing, note, ok, type Finding } from './finding.ts'

/** Beyond those that a pool gives out. */
const PROBE_SLOT = 999

const NO_GUESTS = 'programs will not run, unless --unsafe-no-jail is given'

export async function sandboxChecks(): Promise<Finding[]> {
  const { bubblewrap, userNamespaces, seccomp, obstacle } = await probeJail()
  const isRoot = process.getuid?.() === 0
  const findings = [
    bubblewrap === undefined
      ? missing('bubblewrap', 'no bwrap here', NO_GUESTS, 'install the package bubblewrap')
      : ok('bubblewrap', `${bubblewrap.version} (${bubblewrap.path})`),
    isRoot || userNamespaces
      ? ok('namespaces', isRoot ? 'made by root' : 'user namespaces are allowed')
      : missing(
          'namespaces',
          'user namespaces are off',
          NO_GUESTS,
          'sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000, as root',
        ),
    seccomp
      ? ok('seccomp', 'the kernel filters system calls')
      : missing('seccomp', 'not in this kernel', NO_GUESTS, 'boot one with CONFIG_SECCOMP_FILTER'),
    cgroups(),
  ]
  if (findings.some(({ status }) => status === 'missing')) return findings
  if (obstacle === undefined) return [...findings, await worker()]
  return [...findings, missing('jail', obstacle, NO_GUESTS, 'as it says; see docs/sandbox.md')]
}

/** Trying is the only way to know: hierarchies, delegation and mounts all have a say. */
function cgroups(): Finding {
  const group = Cgroup.make(PROBE_SLOT)
  group?.remove()
  return group === undefined
    ? note(
        'cgroups',
        'none can be made here',
        'rlimits and a watcher bound the memory of programs; page tables and sockets go uncounted',
        'run as root, or delegate one (Delegate=memory in a systemd unit)',
      )
    : ok('cgroups', 'a memory cgroup for each worker')
}

/** A jailed worker that compiles a program says more than any list of features. */
async function worker(): Promise<Finding> {
  await using scope = await openSandbox('bubblewrap')
  const outcome = await scope.sandbox.check({
    tenant: LOCAL_TENANT,
    principal: currentPrincipal(),
    source: Buffer.from('0'),
    limits: DEFAULT_RUN_LIMITS,
  })
  return outcome.status === 'ok'
    ? ok('probe worker', 'jailed, filtered, and it compiles')
    : missing(
        'probe worker',
        outcome.status === 'failed' ? outcome.error.message : outcome.message,
        NO_GUESTS,
        'in a container, allow it to make namespaces and mounts; else see docs/sandbox.md',
      )
}
